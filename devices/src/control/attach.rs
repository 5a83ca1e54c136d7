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
    #[error(
        "{0} descriptors came; send a journal at most, for a vsock device, and behind it the log that is announced"
    )]
    Descriptors(usize),
    /// The descriptor is no journal.
    #[error(
        "the descriptor is no memfd of a fixed size; seal it with F_SEAL_SHRINK and F_SEAL_GROW"
    )]
    NotAJournal,
    /// The descriptor is no log.
    #[error("the log is no memfd of a fixed size; seal it with F_SEAL_SHRINK and F_SEAL_GROW")]
    NotALog,
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
    /// The log of what is written of the guest's RAM, if the supervisor keeps one.
    pub(super) log: Option<OwnedFd>,
}

/// Reads an attachment: one frame, with the files of a journal (see [`Journal`]) and of a log attached to it as descriptors, if the
/// supervisor keeps them.
pub(super) fn receive(control: &UnixStream) -> Result<Wish, AttachError> {
    control.set_read_timeout(Some(TIMEOUT))?;
    control.set_write_timeout(Some(TIMEOUT))?;
    let mut reader = Reader {
        control,
        descriptors: Vec::new(),
    };
    let Attach {
        ticket,
        device,
        logged,
    } = read_frame(&mut reader, MAX_FRAME)?;
    let mut descriptors = reader.descriptors;
    let count = descriptors.len();
    let log = if logged { descriptors.pop() } else { None };
    let journal = descriptors.pop();
    let is_lacking = logged && log.is_none();
    let is_in_excess = device != DeviceKind::Vsock && journal.is_some();
    if is_lacking || is_in_excess || !descriptors.is_empty() {
        return Err(AttachError::Descriptors(count));
    }
    if !journal.iter().all(is_of_fixed_size) {
        return Err(AttachError::NotAJournal);
    }
    if !log.iter().all(is_of_fixed_size) {
        return Err(AttachError::NotALog);
    }
    Ok(Wish {
        ticket,
        device,
        journal: journal.map(Journal::new),
        log,
    })
}

/// What is kept here must mean nothing to anybody else, as a locked file would. Every file on tmpfs has seals, but none on which
/// these two could be put: it is sealed against sealing (memfd_create(2)). So these are a memfd's.
fn is_of_fixed_size(file: &OwnedFd) -> bool {
    fcntl_get_seals(file)
        .is_ok_and(|seals| seals.contains(SealFlags::SHRINK | SealFlags::GROW))
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
