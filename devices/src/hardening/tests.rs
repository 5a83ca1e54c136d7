//! Each forbidden act is tried by a process of its own: this test program, started anew.

use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitStatus};

use super::*;

/// Names the act to the child.
const ACT: &str = "BARTIZAN_TEST_ACT";
/// How the child ends that did what it was told, and nothing forbade it.
const DONE: i32 = 42;
/// Where the child may make files.
const FOLDER: &str = "BARTIZAN_TEST_FOLDER";

#[test]
fn a_forbidden_act_kills_the_process() {
    for act in ["listen", "tcp", "kill", "execute", "start a program"] {
        let status = child(act);
        assert_eq!(status.signal(), Some(libc::SIGSYS), "{act}: {status}");
    }
}

#[test]
fn what_serving_needs_is_allowed() {
    let status = child("serve");
    assert_eq!(status.code(), Some(DONE), "{status}");
}

fn child(act: &str) -> ExitStatus {
    let folder = tempfile::tempdir().unwrap();
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .arg("hardening::tests::child_process")
        // Whoever asks for one has a panic look for files.
        .env_remove("RUST_BACKTRACE")
        .env(ACT, act)
        .env(FOLDER, folder.path())
        .output()
        .unwrap()
        .status
}

#[test]
#[ignore = "the child process of the tests above"]
fn child_process() {
    // Also run by whoever runs all ignored tests: there is nothing to do then.
    let Ok(act) = std::env::var(ACT) else { return };
    let folder = std::path::PathBuf::from(std::env::var_os(FOLDER).unwrap());
    let service = folder.join("service");
    let _service = UnixListener::bind(&service).unwrap();
    let done = catch_unwind(AssertUnwindSafe(|| {
        confine().unwrap();
        match act.as_str() {
            "listen" => drop(UnixListener::bind(folder.join("another"))),
            "tcp" => drop(std::net::TcpStream::connect("127.0.0.1:1")),
            "kill" => drop(rustix::process::kill_process(
                rustix::process::Pid::INIT,
                rustix::process::Signal::URG,
            )),
            "execute" => drop(Command::new("/bin/true").exec()),
            "start a program" => drop(Command::new("/bin/true").spawn()),
            "serve" => {
                UnixStream::connect(&service).unwrap();
                // The allocator's own question is answered as if there were no such call.
                assert!(std::fs::File::open("/dev/null").is_err());
                std::thread::spawn(|| ()).join().unwrap();
            }
            other => panic!("unknown act {other}"),
        }
    }));
    // At once, also from a panic: the harness needs more, and would die of that.
    std::process::exit(done.map_or(1, |()| DONE));
}
