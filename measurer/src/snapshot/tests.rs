use super::*;

const MIB: u64 = 1 << 20;

#[test]
fn a_lease_grows_with_what_is_copied_and_searched() {
    let ms = Duration::from_millis;
    assert_eq!(lease(0, 0), ms(250));
    assert_eq!(lease(1, 0), ms(254));
    assert_eq!(lease(64 * MIB, 0), ms(506));
    assert_eq!(lease(0, 1000), ms(270));
    assert_eq!(lease(64 * MIB, 1000), ms(526));
}

/// Known failure: a large honest program whose lease ran out each time it was asked for.
#[test]
fn a_default_budget_and_all_tables_fit_into_the_longest_lease() {
    assert_eq!(lease(512 * MIB, 1 << 16), Duration::from_micros(3_608_720));
    assert_eq!(lease(u64::MAX, usize::MAX), Duration::from_secs(5));
}
