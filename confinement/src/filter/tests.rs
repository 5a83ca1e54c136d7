use super::*;
use crate::system_call::{When, always, only};

#[test]
fn a_line_that_says_nothing_more_is_refused() {
    let table = [
        always(libc::SYS_read, "frames"),
        only(libc::SYS_read, When::is(0, 0), "standard input"),
    ];
    for table in [table.clone(), [table[1].clone(), table[0].clone()]] {
        let refused = Filter::only(&table, &[]).unwrap_err();
        assert!(matches!(refused, FilterError::Redundant(libc::SYS_read)));
    }
}

#[test]
fn no_range_is_no_condition() {
    let forbidden = [only(
        libc::SYS_setresuid,
        When::Outside(0, Vec::new()),
        "becomes nobody else",
    )];
    let always = [always(libc::SYS_setresuid, "becomes nobody else")];
    let filter = |table| Filter::all_but(table, &[]).unwrap().0;
    assert_eq!(filter(&forbidden), filter(&always));
}

#[test]
fn an_argument_that_there_is_not_is_refused() {
    let table = [only(libc::SYS_read, When::is(6, 0), "the seventh")];
    assert!(matches!(
        Filter::only(&table, &[]),
        Err(FilterError::Compile(_))
    ));
}
