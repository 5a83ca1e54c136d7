//! Receiving over a socket whose options are somebody else's, too: all descriptors that come are held by what is returned.
//!
//! Known attack: the supervisor has each message bring a descriptor of its sender (`SO_PASSPIDFD`), of which no crate knows here;
//! it would stay open for good, until this process had room for no other guest's.

#![expect(unsafe_code, reason = "no crate takes hold of SCM_PIDFD")]

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use vhost::vhost_user::message::MAX_ATTACHED_FD_ENTRIES;

/// A descriptor of the sender (include/linux/socket.h).
const SCM_PIDFD: i32 = 4;
const SPACE: usize = rustix::cmsg_space!(ScmRights(MAX_ATTACHED_FD_ENTRIES));

/// What came.
pub(super) struct Received {
    /// So many bytes.
    pub(super) size: usize,
    /// What the sender attached to them.
    pub(super) descriptors: Vec<OwnedFd>,
    /// Whether there was room for all that came beside the bytes.
    pub(super) is_complete: bool,
}

/// As control messages lie: cmsg(3).
#[repr(align(8))]
struct Space([MaybeUninit<u8>; SPACE]);

/// Receives what is there.
pub(super) fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<Received, Errno> {
    let mut space = Space([MaybeUninit::new(0); SPACE]);
    let mut ancillary = RecvAncillaryBuffer::new(&mut space.0);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(
        socket,
        &mut [IoSliceMut::new(buffer)],
        &mut ancillary,
        flags,
    )?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(attached) = message {
            descriptors.extend(attached);
        }
    }
    drop(ancillary);
    // SAFETY: all of it was made of zeros, and the kernel writes nothing that is not initialised.
    let space = space.0.map(|byte| unsafe { byte.assume_init() });
    close_senders(&space);
    Ok(Received {
        size: received.bytes,
        descriptors,
        is_complete: !received.flags.contains(ReturnFlags::CTRUNC),
    })
}

/// Closes what tells of the sender, in what the kernel wrote: messages of a length, a level and a type, each aligned.
fn close_senders(mut messages: &[u8]) {
    while let Some((length, kind, number)) = first(messages) {
        // Negative where there was no room for one.
        if kind == (libc::SOL_SOCKET, SCM_PIDFD) && number >= 0 {
            // SAFETY: the kernel has just opened it for this process, and has told nobody else.
            drop(unsafe { OwnedFd::from_raw_fd(number) });
        }
        let next = length.next_multiple_of(size_of::<usize>());
        messages = messages.get(next..).unwrap_or_default();
    }
}

/// Of a message: its length, its level and type, and the number that follows. None that is shorter than that is of use here.
fn first(messages: &[u8]) -> Option<(usize, (i32, i32), i32)> {
    let (length, rest) = messages.split_first_chunk()?;
    let (level, rest) = rest.split_first_chunk()?;
    let (kind, rest) = rest.split_first_chunk()?;
    let number = i32::from_ne_bytes(*rest.first_chunk()?);
    let kind = (i32::from_ne_bytes(*level), i32::from_ne_bytes(*kind));
    match usize::from_ne_bytes(*length) {
        0 => None,
        length => Some((length, kind, number)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::{AsRawFd, BorrowedFd};
    use std::os::unix::net::UnixStream;

    use bartizan_local::send_with_descriptors;
    use rustix::net::sockopt::set_socket_passcred;

    use super::*;

    /// `SO_PASSPIDFD`; a kernel before 6.5 knows none.
    fn has_senders_come(socket: &UnixStream) -> bool {
        let on = 1_i32;
        // SAFETY: the value is an int, and outlives the call.
        let done = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PASSPIDFD,
                (&raw const on).cast(),
                4,
            )
        };
        done == 0
    }

    /// The descriptors of this process that are of processes.
    fn senders() -> usize {
        let all = std::fs::read_dir("/proc/self/fd").unwrap();
        let links = all.filter_map(|one| std::fs::read_link(one.unwrap().path()).ok());
        links
            .filter(|link| link.to_string_lossy().contains("pidfd"))
            .count()
    }

    #[test]
    fn nothing_stays_open_of_what_comes() {
        let (socket, mut sender) = UnixStream::pair().unwrap();
        set_socket_passcred(&socket, true).unwrap();
        let _ = has_senders_come(&socket);
        for count in [0, 1, 2, 20, 30, 32] {
            let (own, mut other) = UnixStream::pair().unwrap();
            other.set_nonblocking(true).unwrap();
            let attached: Vec<BorrowedFd<'_>> = vec![own.as_fd(); count];
            send_with_descriptors(&sender, b"message", &attached).unwrap();
            drop(own);
            let received = receive(&socket, &mut [0; 7]).unwrap();
            assert_eq!(received.size, 7);
            assert!(received.descriptors.len() == count || !received.is_complete);
            assert_eq!(senders(), 0, "beside {count}");
            drop(received);
            assert_eq!(other.read(&mut [0]).unwrap(), 0);
        }
        sender.write_all(b"message").unwrap();
        assert!(
            receive(&socket, &mut [0; 7])
                .unwrap()
                .descriptors
                .is_empty()
        );
        let nothing = receive(&socket, &mut [0; 7]).err();
        assert_eq!(nothing, Some(Errno::AGAIN));
    }
}
