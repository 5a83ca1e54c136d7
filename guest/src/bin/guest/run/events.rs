//! What the tool waits for: signals, which are read from a descriptor, and the end of a thread.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Signals that a program may be told something by; they are passed on to it.
const PASSED_ON: [Signal; 6] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// Lets signals through again, in a process that was started while they are caught: it inherits that they are blocked.
pub(super) fn release() -> nix::Result<()> {
    caught().thread_unblock()
}

fn caught() -> SigSet {
    PASSED_ON.into_iter().chain([Signal::SIGCHLD]).collect()
}

/// Caught signals.
pub(super) struct Events(SignalFd);

/// Something happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// A signal came.
    Signal(Signal),
    /// The other end was closed.
    Done,
    /// Nothing happened in time.
    Timeout,
}

impl Events {
    /// From here on, signals of the calling thread and of those that it starts wait to be read.
    pub(super) fn catch() -> nix::Result<Self> {
        let signals = caught();
        signals.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self(SignalFd::with_flags(&signals, flags)?))
    }

    /// Waits for the next signal, or until `other` is closed at its other end; for ever without a timeout.
    pub(super) fn next(
        &self,
        other: Option<&UnixStream>,
        timeout: Option<Duration>,
    ) -> nix::Result<Event> {
        let mut fds = vec![PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        fds.extend(other.map(|other| PollFd::new(other.as_fd(), PollFlags::POLLIN)));
        let timeout = match timeout {
            Some(timeout) => PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX),
            None => PollTimeout::NONE,
        };
        match poll(&mut fds, timeout) {
            Ok(0) => return Ok(Event::Timeout),
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Event::Timeout),
            Err(error) => return Err(error),
        }
        // Signals first: who is told to end must not go on with a verdict that came at the same time.
        if let Some(signal) = self.0.read_signal()? {
            let number = i32::try_from(signal.ssi_signo).map_err(|_| Errno::EINVAL)?;
            return Ok(Event::Signal(Signal::try_from(number)?));
        }
        Ok(Event::Done)
    }
}
