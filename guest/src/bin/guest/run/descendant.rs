//! A process that descends from this one, held so that no other is ever signalled in its place.

use std::os::fd::OwnedFd;

use nix::sys::signal::Signal;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

use super::processes;

/// A process, by a descriptor that names it for ever (pidfd_open(2)). A pid may be given to another one as soon as its
/// parent has waited for it, which need not be this process.
pub(super) struct Descendant(OwnedFd);

impl Descendant {
    /// The process that has a pid, if it descends from this one.
    pub(super) fn open(pid: u32) -> Option<Self> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
        let pidfd = pidfd_open(number, PidfdFlags::empty()).ok()?;
        // Asked after it was opened: whoever has the pid by now is the one that the descriptor names, or that one has ended,
        // and a signal reaches nobody.
        processes::descends(pid).then_some(Self(pidfd))
    }

    /// Sends it a signal. One that has ended meanwhile needs none.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(signal) = rustix::process::Signal::from_named_raw(signal as i32) {
            pidfd_send_signal(&self.0, signal).ok();
        }
    }
}
