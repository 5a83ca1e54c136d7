//! Each forbidden act is tried by a process of its own: this test program, started anew.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitStatus};

use super::*;

/// Names the act to the child.
const ACT: &str = "BARTIZAN_TEST_ACT";
/// Where the child may make files.
const FOLDER: &str = "BARTIZAN_TEST_FOLDER";

#[test]
fn a_forbidden_act_kills_the_process() {
    for act in ["socket", "thread", "kill"] {
        let (status, _) = child(act);
        assert_eq!(status.signal(), Some(libc::SIGSYS), "{act}: {status}");
    }
}

#[test]
fn the_store_is_replaced_and_no_other_file_is_reached() {
    let (status, store) = child("replace");
    assert_eq!(status.signal(), Some(libc::SIGABRT), "{status}");
    assert_eq!(store.as_deref(), Some("done"));
}

/// How the child ended, and what its store holds.
fn child(act: &str) -> (ExitStatus, Option<String>) {
    let folder = tempfile::tempdir().unwrap();
    let ended = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .arg("confinement::tests::child_process")
        // Whoever asks for one has a panic look for files.
        .env_remove("RUST_BACKTRACE")
        .env(ACT, act)
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let store = fs::read_to_string(folder.path().join("keys")).ok();
    (ended.status, store)
}

#[test]
#[ignore = "the child process of the tests above"]
fn child_process() {
    // Also run by whoever runs all ignored tests: there is nothing to do then.
    let Ok(act) = std::env::var(ACT) else { return };
    let folder = std::path::PathBuf::from(std::env::var_os(FOLDER).unwrap());
    let store = folder.join("keys");
    let done = catch_unwind(AssertUnwindSafe(|| {
        keep_memory_private().unwrap();
        let sealing = Sealing::KeyFile(folder.join("root.key"));
        restrict_paths(&store, &sealing).unwrap();
        restrict_system_calls(&sealing).unwrap();
        match act.as_str() {
            "socket" => drop(std::os::unix::net::UnixStream::connect(&store)),
            "thread" => drop(std::thread::Builder::new().spawn(|| ())),
            "kill" => drop(rustix::process::kill_process(
                rustix::process::Pid::INIT,
                rustix::process::Signal::URG,
            )),
            "replace" => {
                let new = folder.join("keys.new");
                fs::write(&new, "keys").unwrap();
                fs::rename(&new, &store).unwrap();
                fs::File::open(&store).unwrap();
                let elsewhere = fs::File::open("/etc/passwd").unwrap_err();
                assert_eq!(elsewhere.kind(), io::ErrorKind::PermissionDenied);
                fs::write(&store, "done").unwrap();
            }
            other => panic!("unknown act {other}"),
        }
    }));
    // The only end that the table has, and the same from a panic: the harness needs more, and would die of that.
    drop(done);
    std::process::abort();
}
