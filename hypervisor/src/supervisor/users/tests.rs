use std::collections::BTreeSet;
use std::io;

use super::own::{running, users_of};
use super::*;

fn users(first: u32, count: u32) -> Users {
    let gid = 7;
    Users::try_from(Written { first, count, gid }).unwrap()
}

fn nobody() -> io::Result<BTreeSet<u32>> {
    Ok(BTreeSet::new())
}

#[test]
fn no_two_guests_have_one_user() {
    let folder = tempfile::tempdir().unwrap();
    let (qemu, measurer) = (users(1000, 3), users(2000, 2));
    let take = || OwnUsers::take_unless(folder.path(), Some(qemu), Some(measurer), nobody);
    let (one, two) = (take().unwrap(), take().unwrap());
    assert_eq!(one.qemu, Some(User { uid: 1000, gid: 7 }));
    assert_eq!(two.qemu, Some(User { uid: 1001, gid: 7 }));
    assert_eq!(two.measurer, Some(User { uid: 2001, gid: 7 }));
    // The shorter range counts.
    assert!(matches!(take(), Err(OwnUsersError::Taken(2))));
    drop(one);
    assert_eq!(take().unwrap().qemu, Some(User { uid: 1000, gid: 7 }));
}

#[test]
fn a_user_whose_process_still_runs_is_not_given_away() {
    let folder = tempfile::tempdir().unwrap();
    let (qemu, measurer) = (users(1000, 3), users(2000, 3));
    let left = || Ok(BTreeSet::from([1000, 2001]));
    let own = OwnUsers::take_unless(folder.path(), Some(qemu), Some(measurer), left).unwrap();
    assert_eq!(own.qemu, Some(User { uid: 1002, gid: 7 }));
    let unknown = || Err(io::ErrorKind::PermissionDenied.into());
    let refused = OwnUsers::take_unless(folder.path(), Some(qemu), None, unknown);
    assert!(matches!(refused, Err(OwnUsersError::Processes(_))));
}

#[test]
fn running_users_are_known_and_ended_ones_forgotten() {
    let own = rustix::process::geteuid().as_raw();
    assert!(running().unwrap().contains(&own));
    let status =
        "Name:\tqemu\nState:\tS (sleeping)\nUid:\t1\t2\t3\t4\nGid:\t5\t5\t5\t5\nThreads:\t1\n";
    assert!(users_of(status).eq([1, 2, 3, 4]));
    let zombie = status.replace("S (sleeping)", "Z (zombie)");
    assert_eq!(users_of(&zombie).count(), 0);
    // Its first thread has ended, and another runs on.
    let goes_on = zombie.replace("Threads:\t1", "Threads:\t2");
    assert!(users_of(&goes_on).eq([1, 2, 3, 4]));
    assert_eq!(users_of("no status").count(), 0);
}

#[test]
fn a_range_is_of_users_and_not_of_root() {
    let read = |text: &str| serde_saphyr::from_str::<Users>(text);
    let range = read("{ first: 100000, count: 1024, gid: 989 }").unwrap();
    assert_eq!((range.uids(), range.count()), (100_000..=101_023, 1024));
    assert_eq!(range.nth(1024), None);
    for wrong in [
        "{ first: 0, count: 5, gid: 989 }",
        "{ first: 5, count: 0, gid: 989 }",
        "{ first: 5, count: 5, gid: 0 }",
        "{ first: 4294967290, count: 6, gid: 989 }",
        "{ first: 2, count: 4294967295, gid: 989 }",
        "{ first: 5, count: 5, gid: 989, name: qemu }",
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
    assert!(users(10, 5).overlaps(users(14, 1)));
    assert!(!users(10, 5).overlaps(users(15, 1)));
}
