use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};

use rustix::process::{PidfdFlags, getegid, geteuid, getpid, pidfd_open};

use super::*;

fn readiness(folder: &tempfile::TempDir) -> (Readiness, UnixDatagram) {
    let own = Account {
        uid: geteuid().as_raw(),
        gid: getegid().as_raw(),
    };
    let readiness = Readiness::new(folder.path(), "a/program", own).unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    sender.connect(readiness.path()).unwrap();
    (readiness, sender)
}

/// A program that says nothing, and runs until its standard input is closed.
struct Silent(Child);

impl Silent {
    fn start() -> Self {
        let mut command = Command::new("cat");
        Self(command.stdin(Stdio::piped()).spawn().unwrap())
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    fn wait(&self, readiness: &Readiness, patience: Duration) -> Heard {
        let ended = pidfd_open(self.pid(), PidfdFlags::empty()).unwrap();
        readiness.wait(self.pid(), ended, patience).unwrap()
    }

    fn end(&mut self) {
        drop(self.0.stdin.take());
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.end();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_program_is_ready_once_it_says_so_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (readiness, sender) = readiness(&folder);
    for (said, ready) in [
        ("STATUS=nearly", false),
        ("READY=0", false),
        ("STATUS=now\nREADY=1", true),
        ("", false),
    ] {
        sender.send(said.as_bytes()).unwrap();
        assert_eq!(readiness.heard(getpid()), ready, "{said}");
    }
    assert!(!readiness.heard(getpid()));
}

#[test]
fn nobody_says_so_for_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let (readiness, sender) = readiness(&folder);
    let mut silent = Silent::start();
    sender.send(b"READY=1").unwrap();
    assert!(!readiness.heard(silent.pid()));
    sender.send(b"READY=1").unwrap();
    let heard = silent.wait(&readiness, Duration::from_millis(1));
    assert_eq!(heard, Heard::Nothing);
    sender.send(b"READY=1").unwrap();
    silent.end();
    let heard = silent.wait(&readiness, Duration::from_secs(600));
    assert_eq!(heard, Heard::Ended);
}

/// A launcher that reads on for as long as somebody sends starts nobody else again meanwhile.
#[test]
fn so_many_datagrams_are_read_in_one_go() {
    let folder = tempfile::tempdir().unwrap();
    let (readiness, sender) = readiness(&folder);
    for _ in 0..AT_ONCE {
        sender.send(b"STATUS=busy").unwrap();
    }
    sender.send(b"READY=1").unwrap();
    assert!(!readiness.heard(getpid()));
    assert!(readiness.heard(getpid()));
}

/// Nor does it wait beyond its patience because there is always something to read.
#[test]
fn the_time_is_over_whatever_there_is_to_read() {
    let folder = tempfile::tempdir().unwrap();
    let (readiness, sender) = readiness(&folder);
    let silent = Silent::start();
    let ended = pidfd_open(silent.pid(), PidfdFlags::empty()).unwrap();
    for _ in 0..AT_ONCE {
        sender.send(b"STATUS=busy").unwrap();
    }
    sender.send(b"READY=1").unwrap();
    let heard = readiness.wait(getpid(), &ended, Duration::ZERO).unwrap();
    assert_eq!(heard, Heard::Nothing);
    let heard = readiness.wait(getpid(), &ended, Duration::ZERO).unwrap();
    assert_eq!(heard, Heard::Ready);
}
