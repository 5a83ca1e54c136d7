//! Each violation is tried by a process of its own: this test program, started anew.
#![expect(
    unsafe_code,
    clippy::unwrap_used,
    reason = "system calls with arguments that no safe interface makes; a test fails by panicking"
)]

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use bartizan_confinement::system_call::{When, always, only};
use bartizan_confinement::{Filter, SystemCall};

/// Names the act to the child.
const ACT: &str = "BARTIZAN_TEST_ACT";

/// `alarm(2)` stands for any call with an argument.
fn forbidden() -> Vec<SystemCall> {
    vec![
        always(libc::SYS_ptrace, "tampering"),
        only(
            libc::SYS_alarm,
            When::Outside(0, vec![3..=5, 10..=12]),
            "another time",
        ),
        only(libc::SYS_getpriority, When::is_not(0, 0), "another kind"),
        only(libc::SYS_dup, When::has(0, 0x300), "both bits"),
    ]
}

#[test]
fn a_violation_ends_the_process_and_nothing_else_does() {
    for act in [
        "ptrace", "alarm 2", "alarm 6", "alarm 9", "alarm 13", "kind 1", "dup 768", "x32",
    ] {
        assert_eq!(child(act).signal(), Some(libc::SIGSYS), "{act}");
    }
    for act in [
        "alarm 3", "alarm 5", "alarm 12", "kind 0", "dup 256", "absent", "threads",
    ] {
        assert!(child(act).success(), "{act}: {}", child(act));
    }
}

#[test]
fn a_list_of_the_allowed_ends_the_process_at_all_else() {
    assert_eq!(child("only: getppid").signal(), Some(libc::SIGSYS));
    assert_eq!(child("only: x32").signal(), Some(libc::SIGSYS));
    assert!(child("only: exit").success());
}

fn child(act: &str) -> ExitStatus {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--test-threads=1", "child_process"])
        .env(ACT, act)
        .output()
        .unwrap()
        .status
}

#[test]
#[ignore = "the child process of the tests above"]
fn child_process() {
    // Also run by whoever runs all ignored tests: there is nothing to do then.
    let Ok(act) = std::env::var(ACT) else { return };
    if let Some(act) = act.strip_prefix("only: ") {
        let exit = [always(libc::SYS_exit_group, "the end")];
        Filter::only(&exit, &[]).unwrap().install().unwrap();
        match act {
            "getppid" => call(libc::SYS_getppid, 0),
            "x32" => call(0x4000_0000 | libc::SYS_exit_group, 0),
            _ => 0,
        };
        call(libc::SYS_exit_group, 0);
    }
    let absent = [always(
        libc::SYS_getppid,
        "stands for a call that is done without",
    )];
    let filter = Filter::all_but(&forbidden(), &absent).unwrap();
    filter.install().unwrap();
    let (name, argument) = act.split_once(' ').unwrap_or((&act, "0"));
    let argument = argument.parse().unwrap();
    match name {
        "ptrace" => drop(call(libc::SYS_ptrace, 0)),
        "alarm" => drop(call(libc::SYS_alarm, argument)),
        "kind" => drop(call(libc::SYS_getpriority, argument)),
        "dup" => drop(call(libc::SYS_dup, argument)),
        "x32" => drop(call(0x4000_0000 | libc::SYS_getpid, 0)),
        "absent" => {
            assert_eq!(call(libc::SYS_getppid, 0), -1);
            let errno = std::io::Error::last_os_error();
            assert_eq!(errno.raw_os_error(), Some(libc::ENOSYS));
        }
        "threads" => every_thread_is_held(),
        other => panic!("unknown act {other}"),
    }
    std::process::exit(0);
}

/// The harness's too, which was there before.
fn every_thread_is_held() {
    let mut threads = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        for line in ["Seccomp:\t2", "NoNewPrivs:\t1"] {
            assert!(status.contains(line), "{line} is not in {status}");
        }
        threads += 1;
    }
    assert!(threads > 1);
}

fn call(number: i64, argument: i64) -> i64 {
    // SAFETY: none of the calls above takes a pointer.
    unsafe { libc::syscall(number, argument, 0_i64, 0_i64, 0_i64) }
}
