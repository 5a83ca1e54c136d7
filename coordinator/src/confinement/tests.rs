//! Each act is tried by a process of its own: this test program, started anew.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use super::*;
use crate::card::Card;
use crate::source::Way;

/// Names the stage and the act to the child.
const ACT: &str = "BARTIZAN_TEST_ACT";

/// What no stage does.
const NEVER: &[&str] = &[
    "execute",
    "start a program",
    "thread",
    "tcp",
    "listen",
    "write",
    "remove",
    "kill",
];

#[test]
fn a_forbidden_act_kills_the_process() {
    for (stage, further) in [
        ("file", ["connect"].as_slice()),
        ("verifier", &["read"]),
        ("verifier then file", &[]),
        ("second", &["read", "connect"]),
    ] {
        for act in NEVER.iter().chain(further) {
            let status = child(stage, act);
            assert_eq!(
                status.signal(),
                Some(libc::SIGSYS),
                "{stage}, {act}: {status}"
            );
        }
    }
}

#[test]
fn what_a_source_needs_is_allowed() {
    for (stage, act) in [
        ("file", "read"),
        ("linked file", "read"),
        ("relative file", "read"),
        ("absent file", "read nothing"),
        ("verifier", "connect"),
        ("verifier then file", "read"),
        ("verifier then file", "connect"),
    ] {
        let status = child(stage, act);
        assert!(status.success(), "{stage}, {act}: {status}");
    }
}

#[test]
fn every_stage_comes_to_an_end_that_says_why() {
    for stage in ["file", "verifier", "verifier then file", "second"] {
        let panicked = child(stage, "panic");
        assert!(panicked.success(), "{stage}: {panicked}");
        let aborted = child(stage, "abort");
        assert_eq!(aborted.signal(), Some(libc::SIGABRT), "{stage}: {aborted}");
    }
}

/// In a folder with a bundle, beside one that a link leads to, and with a card.
fn child(stage: &str, act: &str) -> ExitStatus {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["here", "there"] {
        fs::create_dir(at(name)).unwrap();
        fs::write(at(name).join("bundle.release"), name).unwrap();
    }
    symlink("../there/bundle.release", at("here/linked.release")).unwrap();
    let _card = UnixListener::bind(at("card.sock")).unwrap();
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .arg("confinement::tests::child_process")
        .current_dir(&folder)
        .env(ACT, format!("{stage}: {act}"))
        // Whoever asks for one has the process end where its program is read.
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap()
        .status
}

#[test]
#[ignore = "the child process of the tests above"]
fn child_process() {
    // Also run by whoever runs all ignored tests: there is nothing to do then.
    let Ok(act) = std::env::var(ACT) else { return };
    let (stage, act) = act.split_once(": ").unwrap();
    let folder = std::env::current_dir().unwrap();
    let way = Way {
        card: Card::new(folder.join("card.sock")),
        patience: Duration::ZERO,
    };
    let file = match stage {
        "linked file" => folder.join("here/linked.release"),
        "relative file" => {
            std::env::set_current_dir("here").unwrap();
            "bundle.release".into()
        }
        "absent file" => folder.join("nowhere/bundle.release"),
        _ => folder.join("here/bundle.release"),
    };
    match stage {
        "second" => confine_second(),
        "verifier" => confine_first(&Source::Verifier(way)),
        "verifier then file" => confine_first(&Source::VerifierThenFile(way, file.clone())),
        _ => confine_first(&Source::File(file.clone())),
    }
    .unwrap();
    // At once, also from a panic: the harness needs more, and would die of that.
    let done = std::panic::catch_unwind(|| attempt(act, &file, &folder, stage == "linked file"));
    std::process::exit(i32::from(done.is_err()));
}

fn attempt(act: &str, file: &Path, folder: &Path, linked: bool) {
    let beside = folder.join("here/new");
    match act {
        "execute" => drop(Command::new("/bin/true").exec()),
        "start a program" => drop(Command::new("/bin/true").spawn()),
        "thread" => drop(std::thread::Builder::new().spawn(|| ())),
        "tcp" => drop(TcpStream::connect("127.0.0.1:1")),
        "listen" => drop(UnixListener::bind(&beside)),
        "write" => drop(fs::write(&beside, "new")),
        "remove" => drop(fs::remove_file(file)),
        "kill" => drop(rustix::process::kill_process(
            rustix::process::Pid::INIT,
            rustix::process::Signal::URG,
        )),
        "connect" => drop(UnixStream::connect(folder.join("card.sock")).unwrap()),
        "read" => read(file, folder, linked),
        "read nothing" => {
            let refused = File::open(file).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::NotFound);
        }
        "panic" => drop(std::panic::catch_unwind(|| panic!("as it is meant")).unwrap_err()),
        "abort" => std::process::abort(),
        other => panic!("unknown act {other}"),
    }
}

/// The file, and no other than it has beside it.
fn read(file: &Path, folder: &Path, linked: bool) {
    assert!(file.metadata().unwrap().is_file());
    File::open(file).unwrap();
    let refused = |name| File::open(folder.join(name)).err().map(|why| why.kind());
    let denied = Some(ErrorKind::PermissionDenied);
    assert_eq!(
        refused("there/bundle.release"),
        denied.filter(|_| !linked),
        "another folder"
    );
    assert_eq!(refused("/etc/passwd"), denied, "a file of the host");
    assert_eq!(refused("/proc/self/status"), denied, "the process itself");
}
