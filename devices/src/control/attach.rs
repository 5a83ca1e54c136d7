//! Reading an attachment off a control connection.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bartizan_local::admission::Ticket;
use bartizan_local::attachment::{Attach, DeviceKind, MAX_FRAME};
use bartizan_local::{FrameError, read_frame, recv_with_descriptors};
use rustix::fs::{SealFlags, fcntl_get_seals};

use crate::vsock::Journal;

/// How long a supervisor may take to say what it wants.
const TIMEOUT: Duration = Duration::from_secs(5);

/// An attachment is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttachError {
    /// No attachment was read.
    #[error("no attachment was received: {0}")]
    Frame(#[from] FrameError),
    /// The wrong descriptors.
    #[error("{0} descriptors came; send a journal at most, for a vsock device")]
    Descriptors(usize),
    /// The descriptor is no journal.
    #[error(
        "the descriptor is no memfd of a fixed size; seal it with F_SEAL_SHRINK and F_SEAL_GROW"
    )]
    NotAJournal,
    /// A system call failed.
    #[error("a system call failed: {0}")]
    System(#[from] io::Error),
}

/// What a supervisor attaches.
pub(super) struct Wish {
    /// What it was admitted by.
    pub(super) ticket: Ticket,
    /// Which device.
    pub(super) device: DeviceKind,
    /// The record of open connections, if the supervisor keeps one.
    pub(super) journal: Option<Journal>,
}

/// Reads an attachment: one frame, with a journal's file (see [`Journal`]) attached to it as a descriptor, if the supervisor keeps
/// one.
pub(super) fn receive(control: &UnixStream) -> Result<Wish, AttachError> {
    control.set_read_timeout(Some(TIMEOUT))?;
    control.set_write_timeout(Some(TIMEOUT))?;
    let mut reader = Reader {
        control,
        descriptors: Vec::new(),
    };
    let Attach { ticket, device } = read_frame(&mut reader, MAX_FRAME)?;
    let count = reader.descriptors.len();
    let mut descriptors = reader.descriptors.into_iter();
    let (journal, None) = (descriptors.next(), descriptors.next()) else {
        return Err(AttachError::Descriptors(count));
    };
    if device != DeviceKind::Vsock && journal.is_some() {
        return Err(AttachError::Descriptors(count));
    }
    Ok(Wish {
        ticket,
        device,
        journal: journal.map(checked_journal).transpose()?,
    })
}

/// What is kept here must mean nothing to anybody else, as a locked file would. Every file on tmpfs has seals, but none on which
/// these two could be put: it is sealed against sealing (memfd_create(2)). So these are a memfd's.
fn checked_journal(file: OwnedFd) -> Result<Journal, AttachError> {
    match fcntl_get_seals(&file) {
        Ok(seals) if seals.contains(SealFlags::SHRINK | SealFlags::GROW) => Ok(Journal::new(file)),
        _ => Err(AttachError::NotAJournal),
    }
}

/// Reads bytes and keeps the descriptors that come with them.
struct Reader<'c> {
    control: &'c UnixStream,
    descriptors: Vec<OwnedFd>,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (count, descriptors) = recv_with_descriptors(self.control, buffer)?;
        self.descriptors.extend(descriptors);
        Ok(count)
    }
}
