use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::own::{running, users_of};
use super::*;

fn users(first: u32, count: u32) -> Users {
    let gid = 7;
    Users::try_from(Written { first, count, gid }).unwrap()
}

fn nobody() -> io::Result<BTreeSet<u32>> {
    Ok(BTreeSet::new())
}

/// Says a process of its own where its locks are.
const FOLDER: &str = "BARTIZAN_TAKES_A_USER";

fn take(folder: &Path) -> Result<OwnUsers, OwnUsersError> {
    let (qemu, measurer) = (users(1000, 3), users(2000, 2));
    OwnUsers::take_unless(folder, Some(qemu), Some(measurer), nobody)
}

/// A lock is a process's: takes users in one of its own, which has them until it is killed.
fn taken_by_another(folder: &Path) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture"])
        .arg("supervisor::users::tests::takes_users_for_another_test")
        .env(FOLDER, folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let taken = lines.map(Result::unwrap).find_map(|line| {
        let (_, taken) = line.split_once("taken: ")?;
        Some(taken.to_owned())
    });
    (child, taken.unwrap())
}

#[test]
#[ignore = "started by the test of what processes have taken"]
fn takes_users_for_another_test() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let own = take(Path::new(&folder)).unwrap();
    let uid = |user: Option<User>| user.unwrap().uid;
    println!("taken: {} {}", uid(own.qemu), uid(own.measurer));
    // Until whoever started us has ended, or kills us.
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn no_two_guests_have_one_user() {
    let folder = tempfile::tempdir().unwrap();
    let (mut one, of_one) = taken_by_another(folder.path());
    let (mut two, of_two) = taken_by_another(folder.path());
    assert_eq!((&*of_one, &*of_two), ("1000 2000", "1001 2001"));
    // The shorter range counts.
    assert!(matches!(take(folder.path()), Err(OwnUsersError::Taken(2))));
    one.kill().unwrap();
    one.wait().unwrap();
    let own = take(folder.path()).unwrap();
    assert_eq!(own.qemu, Some(User { uid: 1000, gid: 7 }));
    two.kill().unwrap();
    two.wait().unwrap();
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
