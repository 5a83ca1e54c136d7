//! Whether a whole message of QEMU's has come.
//!
//! Known attack: a supervisor sends a part of a message, with its own ends of other connections attached, and dies: `vhost` would
//! hold these for as long as the rest is missing, and nobody would see its end. So `vhost` reads nothing but what is there.

use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use vhost::vhost_user::message::MAX_MSG_SIZE;

/// A header in bytes: request, flags and size of the body, each a native-endian `u32`.
const HEADER: usize = 12;

/// What has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Come {
    /// A message, and its request's number.
    Message(u32),
    /// Nothing yet.
    Nothing,
    /// The end.
    End,
}

/// The link is of no further use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MessageError {
    /// Less than a message.
    #[error("a part of a message came; send each whole, by one call")]
    Partial,
    /// More than any message has.
    #[error("a message of {0} bytes came; the limit is {MAX_MSG_SIZE}")]
    TooLarge(u32),
    /// A system call failed.
    #[error("the link cannot be read: {0}")]
    System(#[from] Errno),
}

/// Looks at what has come over a link that this process alone reads; takes nothing of it, no descriptor either.
///
/// A message is there as a whole: QEMU and the supervisor send each by one sendmsg(2), which for a stream socket makes one buffer of
/// up to half of the sender's `SO_SNDBUF`, 2 KiB at the very least, and queues it whole or, where there is no room, not at all. The
/// messages of a vsock device have a few hundred bytes.
pub(super) fn look(link: &UnixStream) -> Result<Come, MessageError> {
    let mut bytes = [0; HEADER + MAX_MSG_SIZE];
    let come = match recv(link, &mut bytes, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((0, _)) => return Ok(Come::End),
        Ok((size, _)) => bytes.get(..size).unwrap_or_default(),
        Err(Errno::AGAIN) => return Ok(Come::Nothing),
        Err(error) => return Err(error.into()),
    };
    let Some(([e, f, g, h, .., a, b, c, d], body)) = come.split_first_chunk::<HEADER>() else {
        return Err(MessageError::Partial);
    };
    let announced = u32::from_ne_bytes([*a, *b, *c, *d]);
    match announced as usize {
        size if size > MAX_MSG_SIZE => Err(MessageError::TooLarge(announced)),
        size if size > body.len() => Err(MessageError::Partial),
        _ => Ok(Come::Message(u32::from_ne_bytes([*e, *f, *g, *h]))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_there_is_told_and_left() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        assert_eq!(look(&ours), Ok(Come::Nothing));
        let message = [[13_u32, 1, 8].map(u32::to_ne_bytes).concat(), vec![7; 8]].concat();
        theirs.write_all(&message).unwrap();
        assert_eq!(look(&ours), Ok(Come::Message(13)));
        let mut read = vec![0; message.len()];
        (&ours).read_exact(&mut read).unwrap();
        assert_eq!(read, message);
        drop(theirs);
        assert_eq!(look(&ours), Ok(Come::End));
    }

    proptest! {
        /// A part is an error, whatever it says.
        #[test]
        fn only_a_whole_message_is_one(head in any::<[u32; 2]>(), size in 0..9000_u32, sent in 0..9000_usize) {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let header = [head[0], head[1], size].map(u32::to_ne_bytes).concat();
            let message: Vec<u8> = header.into_iter().chain(std::iter::repeat(0)).take(sent).collect();
            theirs.write_all(&message).unwrap();
            let whole = HEADER + size as usize;
            let expected = match sent {
                0 => Ok(Come::Nothing),
                sent if sent < HEADER => Err(MessageError::Partial),
                _ if size as usize > MAX_MSG_SIZE => Err(MessageError::TooLarge(size)),
                sent if sent < whole => Err(MessageError::Partial),
                _ => Ok(Come::Message(head[0])),
            };
            prop_assert_eq!(look(&ours), expected);
        }
    }
}
