//! Each act is tried by a process of its own: this test program, started anew.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use super::*;

/// Names the act to the child.
const ACT: &str = "BARTIZAN_TEST_ACT";
/// How the child ends that did what it was told, and nothing forbade it.
const DONE: i32 = 42;
/// The database's folder.
const FOLDER: &str = "BARTIZAN_TEST_FOLDER";

#[test]
fn a_forbidden_act_kills_the_process() {
    for act in ["listen", "connect", "execute", "start a program"] {
        let status = child(act);
        assert_eq!(status.signal(), Some(libc::SIGSYS), "{act}: {status}");
    }
}

#[test]
fn only_the_folder_and_the_ports_are_left() {
    let status = child("access");
    assert_eq!(status.code(), Some(DONE), "{status}");
}

#[test]
fn a_thread_and_the_folder_are_left_when_it_serves() {
    let status = child("serve");
    assert_eq!(status.code(), Some(DONE), "{status}");
}

fn child(act: &str) -> ExitStatus {
    let folder = tempfile::tempdir().unwrap();
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .arg("confinement::tests::child_process")
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
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    let database = folder.join("verifier.db");
    let host = TcpListener::bind("127.0.0.1:0").unwrap();
    let config: Config = serde_saphyr::from_str(&format!(
        "{{listen: ['127.0.0.1:0'], names: [x], database: '{}', vault_socket: x, fleet_name: x, measured_boot: not_demanded}}",
        database.display()
    ))
    .unwrap();
    let done = catch_unwind(AssertUnwindSafe(|| {
        restrict_access(&config).unwrap();
        if act != "access" {
            restrict_system_calls().unwrap();
        }
        match act.as_str() {
            "access" => {
                std::fs::write(&database, "").unwrap();
                let elsewhere = std::fs::read("/etc/passwd").unwrap_err();
                assert_eq!(elsewhere.kind(), ErrorKind::PermissionDenied);
                let elsewhere = std::fs::write("/tmp/bartizan-elsewhere", "").unwrap_err();
                assert_eq!(elsewhere.kind(), ErrorKind::PermissionDenied);
                TcpListener::bind("127.0.0.1:0").unwrap();
                let to_host = TcpStream::connect(host.local_addr().unwrap()).unwrap_err();
                assert_eq!(to_host.kind(), ErrorKind::PermissionDenied);
            }
            "serve" => {
                std::fs::write(&database, "").unwrap();
                std::fs::remove_file(&database).unwrap();
                std::thread::spawn(|| ()).join().unwrap();
            }
            "listen" => drop(TcpListener::bind("127.0.0.1:0")),
            "connect" => drop(TcpStream::connect(host.local_addr().unwrap())),
            "execute" => drop(Command::new("/usr/bin/true").exec()),
            "start a program" => drop(Command::new("/usr/bin/true").spawn()),
            other => panic!("unknown act {other}"),
        }
    }));
    // At once, also from a panic: the harness needs more, and would die of that.
    std::process::exit(done.map_or(1, |()| DONE));
}
