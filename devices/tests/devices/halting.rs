//! Halting one thread of the daemon between two of its system calls (ptrace(2)), so that a race with it is won at once.

#![expect(unsafe_code, reason = "no crate here traces")]

use std::io;
use std::time::Instant;

use rustix::process::{Pid, WaitOptions, waitpid};

use crate::daemon::DEADLINE;

/// A thread that is halted. It goes on when this is dropped.
pub(crate) struct Halted(Pid);

impl Halted {
    pub(crate) fn new(thread: Pid) -> Self {
        trace(libc::PTRACE_SEIZE, thread);
        let halted = Self(thread);
        trace(libc::PTRACE_INTERRUPT, thread);
        halted.wait();
        halted
    }

    /// Runs it until it is about to make, or has just made, a system call at which `is_there` holds.
    pub(crate) fn run_until(&mut self, is_there: impl Fn() -> bool) {
        let give_up = Instant::now() + DEADLINE;
        while !is_there() {
            assert!(Instant::now() < give_up, "it never came there");
            trace(libc::PTRACE_SYSCALL, self.0);
            self.wait();
        }
    }

    fn wait(&self) {
        let give_up = Instant::now() + DEADLINE;
        while waitpid(Some(self.0), WaitOptions::NOHANG)
            .unwrap()
            .is_none()
        {
            assert!(Instant::now() < give_up, "it did not halt");
            std::thread::yield_now();
        }
    }
}

impl Drop for Halted {
    fn drop(&mut self) {
        trace(libc::PTRACE_DETACH, self.0);
    }
}

fn trace(request: libc::c_uint, thread: Pid) {
    let (nowhere, nothing) = (0_usize, 0_usize);
    // SAFETY: none of these requests reads or writes memory of this process.
    let done = unsafe { libc::ptrace(request, thread.as_raw_pid(), nowhere, nothing) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}
