//! QEMU's messages, received whole and handed to `vhost` over a pair of sockets that nobody else has.
//!
//! Known attack: a supervisor keeps the end of the link that it sent, and sends messages to which its own ends of other
//! connections are attached, so that nobody sees it die. What `vhost` receives it holds for as long as the rest of a message is
//! missing, however long the supervisor has its reads wait, or takes the rest away by its own descriptor; and what comes behind
//! the sender's credentials (`SO_PASSCRED`) `vhost` never closes. So it is given nothing but whole messages, by a socket
//! whose options are this process' own, and the link is never waited in.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use bartizan_local::send_with_descriptors;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use vhost::vhost_user::message::{MAX_ATTACHED_FD_ENTRIES, MAX_MSG_SIZE};
use vhost::vhost_user::{BackendReqHandler, Error as VhostUserError};

use super::Backend;
use super::ancillary::{self, Received};

/// A header in bytes: request, flags and size of the body, each a native-endian `u32`.
const HEADER: usize = 12;

/// Behind each message: bytes that begin none, a header and one more, so that no read of `vhost`'s finds nothing and waits. It
/// takes a message for a part of one where descriptors run out, and reads on.
const PADDING: [u8; HEADER + 1] = [0; HEADER + 1];

/// Hands messages on.
pub struct Relay {
    handler: BackendReqHandler<Mutex<Backend>>,
    ours: UnixStream,
    /// The handler's end, by another descriptor.
    theirs: UnixStream,
}

/// The link is of no further use.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The other end closed it.
    #[error("the other end closed it")]
    Closed,
    /// Less than a message.
    #[error("a part of a message came; send each whole, by one call")]
    Partial,
    /// More than any message has.
    #[error("a message of {0} bytes came; the limit is {MAX_MSG_SIZE}")]
    TooLarge(u32),
    /// Some are missing.
    #[error(
        "descriptors are missing: more came than {MAX_ATTACHED_FD_ENTRIES}, or than this process has room for"
    )]
    Descriptors,
    /// The link is full.
    #[error("there is no room for an answer; read each before the next question")]
    Unread,
    /// The message is not to be followed.
    #[error(transparent)]
    Message(#[from] VhostUserError),
    /// A system call failed.
    #[error("a system call failed: {0}")]
    System(#[from] io::Error),
}

struct Message {
    /// Header and body.
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl Relay {
    /// To a back end.
    pub fn new(backend: Arc<Mutex<Backend>>) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let handler = BackendReqHandler::from_stream(theirs.try_clone()?, backend);
        Ok(Self {
            handler,
            ours,
            theirs,
        })
    }

    /// Hands on the message that has come over `link`, and its answer. Never waits.
    pub fn turn(&mut self, link: &UnixStream) -> Result<(), RelayError> {
        let message = receive(link)?;
        self.hand_on(message)?;
        let handled = self.handler.handle_request();
        self.take_padding()?;
        // A refusal may have an answer, too.
        self.answer(link)?;
        Ok(handled?)
    }

    fn hand_on(&self, message: Message) -> Result<(), RelayError> {
        let Message {
            mut bytes,
            descriptors,
        } = message;
        bytes.extend(PADDING);
        let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        // The pair is empty, and has room for this.
        match send_with_descriptors(&self.ours, &bytes, &descriptors)? {
            sent if sent == bytes.len() => Ok(()),
            _ => Err(io::Error::from(io::ErrorKind::WriteZero).into()),
        }
    }

    fn take_padding(&self) -> io::Result<()> {
        let mut rest = [0; HEADER + MAX_MSG_SIZE + PADDING.len()];
        match recv(&self.theirs, &mut rest, RecvFlags::DONTWAIT) {
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn answer(&self, link: &UnixStream) -> Result<(), RelayError> {
        let mut answer = [0; HEADER + MAX_MSG_SIZE];
        let size = match recv(&self.ours, &mut answer, RecvFlags::DONTWAIT) {
            Ok((size, _)) => size,
            Err(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(io::Error::from(error).into()),
        };
        let answer = answer.get(..size).unwrap_or_default();
        match send(link, answer, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(sent) if sent == size => Ok(()),
            Ok(_) | Err(Errno::AGAIN) => Err(RelayError::Unread),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }
}

/// The message that has come.
///
/// It is there as a whole: QEMU and the supervisor send each by one sendmsg(2), which for a stream socket makes one buffer of up to
/// half of the sender's `SO_SNDBUF`, 2 KiB at the very least, and queues it whole or, where there is no room, not at all. The
/// messages of a vsock device have a few hundred bytes.
fn receive(link: &UnixStream) -> Result<Message, RelayError> {
    let mut header = [0; HEADER];
    let Received {
        size,
        descriptors,
        is_complete,
    } = ancillary::receive(link, &mut header).map_err(partial)?;
    if !is_complete || descriptors.len() > MAX_ATTACHED_FD_ENTRIES {
        return Err(RelayError::Descriptors);
    }
    match size {
        0 => return Err(RelayError::Closed),
        HEADER => {}
        _ => return Err(RelayError::Partial),
    }
    let [.., a, b, c, d] = header;
    let announced = u32::from_ne_bytes([a, b, c, d]);
    let size = announced as usize;
    if size > MAX_MSG_SIZE {
        return Err(RelayError::TooLarge(announced));
    }
    let mut bytes = header.to_vec();
    bytes.resize(HEADER + size, 0);
    if size > 0 {
        let body = bytes.get_mut(HEADER..).unwrap_or_default();
        // Without a place for descriptors: those of a body are closed.
        let (received, _) = recv(link, body, RecvFlags::DONTWAIT).map_err(partial)?;
        if received != size {
            return Err(RelayError::Partial);
        }
    }
    Ok(Message { bytes, descriptors })
}

/// Nothing is there though something came: somebody else has taken it.
fn partial(error: Errno) -> RelayError {
    match error {
        Errno::AGAIN => RelayError::Partial,
        error => io::Error::from(error).into(),
    }
}

#[cfg(test)]
mod tests;
