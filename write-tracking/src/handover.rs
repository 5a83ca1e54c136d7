//! How the process that is tracked hands its userfaultfd to the one that started it.
//!
//! A userfaultfd is of the memory of the process that makes it, which execve(2) replaces. So QEMU itself must make it, and is made to by a
//! library that is preloaded into it (`bartizan-tracked`): it finds two descriptors by the environment, makes a userfaultfd from
//! the one, sends it over the other, closes all three, and forgets the variable. When `main` begins, nothing of it is left.
//!
//! Known attack: a guest that took its QEMU over makes the kernel wait in the midst of something, by a fault that it sees to itself,
//! and so wins races in the kernel. It finds neither the device nor a userfaultfd. And where QEMU kept its own copy, protection would outlive
//! who tracks.
//!
//! Whatever goes wrong there, QEMU goes on, and the socket ends without a message.
//!
//! QEMU's own sandbox begins in `main`. What it is under from before (seccomp filters, Landlock) must allow `ioctl` and `sendmsg`;
//! Landlock looks at ioctl(2) only of devices that were opened in its domain.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags, open};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SocketFlags,
    SocketType, recvmsg, socketpair,
};

/// The file name of the library.
pub const LIBRARY: &str = "libbartizan_tracked.so";

/// Tells the library its descriptors: `DEVICE,SOCKET`, in decimal.
const VARIABLE: &str = "BARTIZAN_TRACKED";

/// `/dev/userfaultfd`, open. Who opens it needs the right to; who makes a userfaultfd of it needs none.
#[derive(Debug)]
pub struct Device(OwnedFd);

impl Device {
    /// Opens it.
    ///
    /// # Errors
    ///
    /// The kernel has none, or it is not for this user.
    pub fn open() -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        Ok(Self(open("/dev/userfaultfd", flags, Mode::empty())?))
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What a process to be tracked is started with.
#[derive(Debug)]
pub struct Handover<'d> {
    device: &'d Device,
    theirs: OwnedFd,
    ours: Receiver,
}

impl<'d> Handover<'d> {
    /// For one process.
    pub fn new(device: &'d Device) -> io::Result<Self> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        Ok(Self {
            device,
            theirs,
            ours: Receiver(ours),
        })
    }

    /// The descriptors that the process must inherit under the numbers that they have here.
    #[must_use]
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.device.as_fd(), self.theirs.as_fd()]
    }

    /// The variable that its environment must have, beside what preloads the library at its last exec.
    #[must_use]
    pub fn environment(&self) -> (&'static str, String) {
        let [device, socket] = self.descriptors().map(|descriptor| descriptor.as_raw_fd());
        (VARIABLE, format!("{device},{socket}"))
    }

    /// Once the process has been started: what it sends is awaited there, and its end is seen.
    #[must_use]
    pub fn started(self) -> Receiver {
        self.ours
    }
}

/// Where the userfaultfd arrives. It can be polled, and does not block.
#[derive(Debug)]
pub struct Receiver(OwnedFd);

impl Receiver {
    /// Takes the userfaultfd, whose features are not enabled yet; `None` where the process sent none, and will not.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`]: not yet. [`io::ErrorKind::InvalidData`]: something else was sent.
    pub fn receive(&self) -> io::Result<Option<OwnedFd>> {
        // More than one, so that a second is seen and closed.
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0; 2];
        let received = recvmsg(
            &self.0,
            &mut [IoSliceMut::new(&mut byte)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        let mut sent: Vec<OwnedFd> = ancillary
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
                _ => None,
            })
            .flatten()
            .collect();
        let truncated = received
            .flags
            .intersects(ReturnFlags::CTRUNC | ReturnFlags::TRUNC);
        match (received.bytes, sent.pop(), sent.is_empty(), truncated) {
            (0, None, _, false) => Ok(None),
            (1, Some(userfault), true, false) => Ok(Some(userfault)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Receiver {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests;
