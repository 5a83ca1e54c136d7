//! The measurer's end of the supervisor's socket.

use std::collections::VecDeque;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use bartizan_attestation::host::{FromMeasurer, MAX_FRAME, ToMeasurer};
use bartizan_local::{FrameError, read_frame, write_frame};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Largest message from the supervisor, in bytes: a signed request is at most 64 KiB, a chain at most
/// 4 certificates of 8 KiB.
const MAX_INCOMING: usize = 128 << 10;
/// Most messages kept while an answer is awaited.
const MAX_DEFERRED: usize = 64;
/// How long one frame may take to arrive or to be taken, once begun.
const FRAME_TIME: Duration = Duration::from_secs(30);
/// How long the supervisor may take to stop or resume the guest.
const PAUSE_TIME: Duration = Duration::from_secs(10);

/// The socket, and what arrived on it out of turn.
pub(crate) struct Link {
    socket: UnixStream,
    deferred: VecDeque<ToMeasurer>,
}

/// The link is of no use any more: the measurer ends, its supervisor starts another.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The supervisor closed the link: the orderly end.
    #[error("the supervisor closed the link")]
    Closed,
    /// The frame layer failed.
    #[error("the link to the supervisor failed")]
    Frame(#[source] FrameError),
    /// Waiting failed.
    #[error("cannot wait for the supervisor")]
    Wait(#[source] Errno),
    /// The supervisor sent something that is not its turn.
    #[error("the supervisor sent a message out of turn; {expected} was due")]
    OutOfTurn {
        /// What was due.
        expected: &'static str,
    },
    /// The supervisor did not answer in time.
    #[error("the supervisor did not answer {what} within {PAUSE_TIME:?}")]
    Late {
        /// To what.
        what: &'static str,
    },
    /// More requests than are kept arrived while one was worked on.
    #[error(
        "more than {MAX_DEFERRED} messages are waiting; the supervisor must hold requests back"
    )]
    Flooded,
}

/// How a pause ended.
pub(crate) struct Resumed {
    /// Whether the guest stood still all the time.
    pub(crate) in_time: bool,
    /// How long it did, in microseconds.
    pub(crate) pause_us: u64,
}

impl Link {
    pub(crate) fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_read_timeout(Some(FRAME_TIME))?;
        socket.set_write_timeout(Some(FRAME_TIME))?;
        Ok(Self {
            socket,
            deferred: VecDeque::new(),
        })
    }

    /// The next message; `None` when `wait` is over (`None`: no end).
    pub(crate) fn next(&mut self, wait: Option<Duration>) -> Result<Option<ToMeasurer>, LinkError> {
        if let Some(message) = self.deferred.pop_front() {
            return Ok(Some(message));
        }
        if self.readable(wait)? {
            self.receive().map(Some)
        } else {
            Ok(None)
        }
    }

    pub(crate) fn send(&mut self, message: &FromMeasurer) -> Result<(), LinkError> {
        write_frame(&mut self.socket, message, MAX_FRAME).map_err(closed_or)
    }

    /// Asks for a pause; whether the guest stands still now.
    pub(crate) fn pause(&mut self, lease: Duration) -> Result<bool, LinkError> {
        let lease_ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        self.send(&FromMeasurer::Pause { lease_ms })?;
        match self.answer("Pause", |m| matches!(m, ToMeasurer::Paused { .. }))? {
            ToMeasurer::Paused { stopped } => Ok(stopped),
            _ => Err(LinkError::OutOfTurn { expected: "Paused" }),
        }
    }

    /// Ends a pause.
    pub(crate) fn resume(&mut self) -> Result<Resumed, LinkError> {
        self.send(&FromMeasurer::Resume)?;
        match self.answer("Resume", |m| matches!(m, ToMeasurer::Resumed { .. }))? {
            ToMeasurer::Resumed { in_time, pause_us } => Ok(Resumed { in_time, pause_us }),
            _ => Err(LinkError::OutOfTurn {
                expected: "Resumed",
            }),
        }
    }

    /// Waits for the answer to `what`; requests, certificates and orders that arrive before it are kept.
    fn answer(
        &mut self,
        what: &'static str,
        is_answer: impl Fn(&ToMeasurer) -> bool,
    ) -> Result<ToMeasurer, LinkError> {
        let deadline = Instant::now() + PAUSE_TIME;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if !self.readable(Some(left))? {
                return Err(LinkError::Late { what });
            }
            match self.receive()? {
                message if is_answer(&message) => return Ok(message),
                message @ (ToMeasurer::Measure { .. }
                | ToMeasurer::Certificate(_)
                | ToMeasurer::RotateKey { .. }) => {
                    if self.deferred.len() >= MAX_DEFERRED {
                        return Err(LinkError::Flooded);
                    }
                    self.deferred.push_back(message);
                }
                _ => return Err(LinkError::OutOfTurn { expected: what }),
            }
        }
    }

    fn receive(&mut self) -> Result<ToMeasurer, LinkError> {
        read_frame(&mut self.socket, MAX_INCOMING).map_err(closed_or)
    }

    fn readable(&self, wait: Option<Duration>) -> Result<bool, LinkError> {
        let deadline = wait.map(|wait| Instant::now() + wait);
        loop {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            let mut descriptors = [PollFd::new(&self.socket, PollFlags::IN)];
            match poll(&mut descriptors, timeout.as_ref()) {
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(LinkError::Wait(errno)),
            }
        }
    }
}

fn closed_or(error: FrameError) -> LinkError {
    match error {
        FrameError::Closed => LinkError::Closed,
        // Its end may be noticed first by what is said to it.
        FrameError::Io(error) if error.kind() == io::ErrorKind::BrokenPipe => LinkError::Closed,
        error => LinkError::Frame(error),
    }
}
