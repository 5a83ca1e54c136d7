//! A descriptor that names one process for ever (pidfd_open(2)).
#![expect(
    unsafe_code,
    reason = "tokio asks for a promise about the descriptor that it watches"
)]

use std::io;
use std::os::fd::OwnedFd;
use std::process::Child;

use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Names a child and no other process, however pids are recycled.
#[derive(Debug)]
pub(super) struct Pidfd(AsyncFd<OwnedFd>);

impl Pidfd {
    /// Of a child that was not waited for yet.
    pub(super) fn of(child: &Child) -> io::Result<Self> {
        let pidfd = rustix::process::pidfd_open(Pid::from_child(child), PidfdFlags::NONBLOCK)?;
        // SAFETY: an `OwnedFd` is open, names the same description and has the same number until it is
        // dropped, which only the `AsyncFd` that now owns it can do.
        let watched = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) };
        Ok(Self(watched?))
    }

    pub(super) fn kill(&self) {
        // The only failure is that the process has ended already.
        let _ = rustix::process::pidfd_send_signal(self.0.get_ref(), Signal::KILL);
    }

    /// Waits until the process has ended (it then waits to be reaped). May return early.
    pub(super) async fn ended(&self) -> io::Result<()> {
        self.0.readable().await?.clear_ready();
        Ok(())
    }
}
