//! For tests: a process whose first thread has ended, and whose others go on. /proc calls it a zombie.
#![expect(
    unsafe_code,
    reason = "no library ends one thread of a process alone, or runs before the harness"
)]

use std::fs::{self, File};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::qemu::process::in_groups;

/// Says who is the child.
const CHILD: &str = "BARTIZAN_HEADLESS";
/// How long a process may take for what it does at once.
const WATCHDOG: Duration = Duration::from_secs(30);

/// Starts one in control groups; it lives until it is killed.
pub(crate) fn start(groups: Vec<File>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(CHILD, "");
    in_groups(&mut command, groups);
    let child = command.spawn().unwrap();
    let stat = || fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let give_up = Instant::now() + WATCHDOG;
    while !stat().contains(") Z ") {
        assert!(Instant::now() < give_up, "its first thread does not end");
        thread::yield_now();
    }
    child
}

/// Whether a thread of it is there.
pub(crate) fn lives(child: &Child) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
    let live = |entry: fs::DirEntry| {
        let stat = fs::read_to_string(entry.path().join("stat"));
        stat.is_ok_and(|stat| !stat.contains(") Z ") && !stat.contains(") X "))
    };
    threads.flatten().any(live)
}

/// Waits until none is, though nobody has waited for it: who has left its group may have a few steps to go.
pub(crate) fn ends(child: &Child) {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).unwrap();
    let mut ended = [PollFd::new(&pidfd, PollFlags::IN)];
    let watchdog = Timespec::try_from(WATCHDOG).unwrap();
    assert_eq!(poll(&mut ended, Some(&watchdog)).unwrap(), 1);
}

/// Runs before `main`, which is the harness's and would have tests run in another thread.
// SAFETY: the C library calls each function of this section once, with one thread, before `main`.
#[used]
#[unsafe(link_section = ".init_array")]
static CHILD_PROCESS: extern "C" fn() = child_process;

extern "C" fn child_process() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    thread::spawn(|| {
        loop {
            thread::park();
        }
    });
    // SAFETY: exit(2) of this thread alone; nothing that it owns is used by the other one, which only waits.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}
