use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::parent_id;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::processes::instance;
use super::*;

/// Tests that have children, one at a time: all children of this process are waited for.
pub(in crate::run) fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    prctl::set_child_subreaper(true).unwrap();
    guard
}

/// A shell that runs a script; what it says, and what tells it to go on.
fn shell(script: &str) -> (Child, BufReader<ChildStdout>, ChildStdin) {
    let mut child = Command::new("/bin/sh")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stdout.take().unwrap());
    let told = child.stdin.take().unwrap();
    (child, said, told)
}

fn line(said: &mut impl BufRead) -> String {
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    line.trim().to_owned()
}

/// Waits until the code is known.
fn code(family: &mut Family, program: &Program, events: &Events) -> u8 {
    let deadline = Instant::now() + END_DEADLINE;
    loop {
        family.reap();
        if let Some(code) = family.over(program) {
            return code;
        }
        assert!(Instant::now() < deadline, "it does not end");
        events.next(None, Some(LOOK_AGAIN)).unwrap();
    }
}

#[test]
fn all_descendants_are_ended_daemons_and_those_that_start_others_too() {
    let _alone = alone();
    let events = Events::catch().unwrap();
    // A daemon in a session of its own that starts a worker for each that is killed, and one whose parents are gone.
    let script = "setsid sh -c 'while :; do sleep 1000 & echo worker; wait; done' & \
                  (setsid sh -c 'echo daemon; sleep 1000' &) ; sleep 1000";
    let (child, mut said, _told) = shell(script);
    let mut family = Family::of(child.id());
    let mut first = [line(&mut said), line(&mut said)];
    first.sort();
    assert_eq!(first, ["daemon", "worker"]);
    family.end(&events).unwrap();
    assert!(family.is_gone());
    assert_eq!(descendants().unwrap(), Vec::<u32>::new());
    // None holds the pipe any more.
    said.read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_daemon_is_found_and_its_code_counts() {
    let _alone = alone();
    let events = Events::catch().unwrap();
    let (child, mut said, told) =
        shell("exec 3<&0; sh -c 'echo $$; read go <&3; exit 7' & exec true");
    let mut family = Family::of(child.id());
    let program = Program::find("sh").unwrap();
    let daemon: u32 = line(&mut said).parse().unwrap();
    let deadline = Instant::now() + END_DEADLINE;
    while family.code_of_first.is_none() {
        family.reap();
        assert!(Instant::now() < deadline, "the first does not end");
    }
    assert_eq!(family.over(&program), None);
    assert_eq!(instance(program.file(), family.first()), Some(daemon));
    drop(told);
    assert_eq!(code(&mut family, &program, &events), 7);
}

#[test]
fn a_program_that_fails_is_over_whoever_is_left() {
    let _alone = alone();
    let events = Events::catch().unwrap();
    let (child, _said, _told) = shell("sh -c 'sleep 1000; :' & exit 3");
    let mut family = Family::of(child.id());
    let program = Program::find("/bin/sh").unwrap();
    assert_eq!(code(&mut family, &program, &events), 3);
    family.end(&events).unwrap();
}

#[test]
fn signals_are_passed_on_and_a_death_by_one_is_told_as_shells_tell_it() {
    let _alone = alone();
    // Before signals are caught: what is started inherits that they are blocked.
    let (traps, mut said_by_it, _told) =
        shell("trap 'exit 5' TERM; sleep 1000 >/dev/null & echo up; wait");
    let (dies, mut said_by_other, _told) = shell("echo up; exec sleep 1000");
    let events = Events::catch().unwrap();
    let program = Program::find("/bin/sh").unwrap();
    for (child, said, expected) in [(traps, &mut said_by_it, 5), (dies, &mut said_by_other, 143)] {
        assert_eq!(line(said), "up");
        let mut family = Family::of(child.id());
        family.pass_on(Signal::SIGTERM, &program);
        assert_eq!(code(&mut family, &program, &events), expected);
    }
    Family::of(0).end(&events).unwrap();
}

#[test]
fn only_descendants_are_signalled_whoever_has_their_pids_by_now() {
    let _alone = alone();
    let events = Events::catch().unwrap();
    let script = "exec 3<&0; setsid sh -c 'echo $$; read go <&3; echo alive' & exit 0";
    // Not the reaper meanwhile: what loses its parent becomes a stranger.
    prctl::set_child_subreaper(false).unwrap();
    let (mut child, mut said, mut told) = shell(script);
    let stranger: u32 = line(&mut said).parse().unwrap();
    child.wait().unwrap();
    prctl::set_child_subreaper(true).unwrap();
    send(stranger, Signal::SIGKILL);
    told.write_all(b"go\n").unwrap();
    assert_eq!(line(&mut said), "alive");
    for other in [0, 1, std::process::id(), parent_id(), u32::MAX] {
        assert!(Descendant::open(other).is_none(), "{other}");
    }

    let (child, mut said, _told) = shell(script);
    let mut family = Family::of(child.id());
    let descendant: u32 = line(&mut said).parse().unwrap();
    let held = Descendant::open(descendant).unwrap();
    send(descendant, Signal::SIGKILL);
    assert_eq!(line(&mut said), "", "it lives");
    family.end(&events).unwrap();
    // Nobody has its pid, or another has: the descriptor is neither's.
    held.signal(Signal::SIGKILL);
    assert!(Descendant::open(descendant).is_none());
}
