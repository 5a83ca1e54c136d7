//! The tracking of the writes to a guest's RAM: without it, every measurement has the guest stand still until all is copied.
//!
//! ```text
//! unconfined     opens /dev/userfaultfd ──────────────────────────────┐
//! an attempt     makes a log of what devices write                    ▼
//!                starts QEMU ──► its library, before `main`: makes a userfaultfd of it, sends it here, forgets all of it
//! QEMU answers   enables the userfaultfd; reads QEMU's mappings, opens its page map, as its user
//! the guest runs
//! a measurer     is handed copies: page map, log, userfaultfd
//! it ends        what it has left protected is no more
//! ```
//!
//! All of this is done before the guest's first instruction, while QEMU does what its own code says. Where anything fails the guest runs all the
//! same, and is measured by `pause-copy`, which reports say.

mod page_map;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use bartizan_attestation::host::RamMapping;
use bartizan_write_tracking::{
    Device, FileId, Handover, Log, LogError, Mappings, MapsError, Receiver, TrackError, Userfault,
};

use super::SupervisorConfig;
use crate::qemu::parts::Parts;
use crate::qemu::process::User;

/// What the QEMUs of a boot are started with.
#[derive(Debug)]
pub struct Tracking {
    device: Device,
    /// The library, where QEMU is executed by its path.
    library: Option<PathBuf>,
}

/// In which a guest's devices note what they write of its RAM.
#[derive(Debug)]
pub struct WriteLog {
    file: OwnedFd,
    kept: bool,
}

/// A QEMU whose guest's writes can be tracked.
#[derive(Debug)]
pub struct Tracked {
    userfault: Userfault,
    page_map: OwnedFd,
    mappings: Mappings,
    log: WriteLog,
}

/// Writes cannot be tracked.
#[derive(Debug, thiserror::Error)]
pub enum NotTracked {
    /// QEMU was started with the device and its library did not take it: QEMU has it still.
    #[error(
        "the library was not preloaded, or did not do its work; QEMU may hold /dev/userfaultfd: {0}"
    )]
    NotTaken(io::Error),
    /// The library did its work in vain.
    #[error("the kernel makes no userfaultfd for QEMU")]
    NotMade,
    /// The kernel lacks something.
    #[error(transparent)]
    Kernel(#[from] TrackError),
    /// QEMU has the RAM where it cannot be tracked.
    #[error(transparent)]
    Mappings(#[from] MapsError),
    /// QEMU's files in /proc cannot be opened.
    #[error("QEMU's mappings cannot be looked at: {0}")]
    Proc(io::Error),
}

impl Tracking {
    /// Opens the device, where QEMU has the library. To be called before this process gives up what that takes.
    pub fn open(config: &SupervisorConfig) -> Option<Self> {
        let library = match &config.qemu_parts {
            Some(parts) if !Parts::hands_over(parts) => return None,
            Some(_) => None,
            None => Some(config.tracking_library.clone()?),
        };
        match Device::open() {
            Ok(device) => Some(Self { device, library }),
            Err(error) => {
                tracing::warn!(%error, "/dev/userfaultfd cannot be opened: measurements have this guest stand still for longer");
                None
            }
        }
    }

    /// For one QEMU.
    pub(super) fn handover(&self) -> io::Result<Handover<'_>> {
        Handover::new(&self.device)
    }

    /// The library to be preloaded, unless QEMU has it in it.
    pub(super) fn library(&self) -> Option<&Path> {
        self.library.as_deref()
    }
}

impl WriteLog {
    /// Of RAM of so many bytes.
    pub(super) fn create(ram_size: u64) -> Result<Self, LogError> {
        Ok(Self {
            file: Log::create(ram_size)?,
            // The joint with devices: each is to be attached with this file (`AsFd`), and `kept` is to say that all of them were and
            // note what they write there. Until then no measurer is told that writes can be tracked, since those of devices could not.
            kept: false,
        })
    }
}

impl AsFd for WriteLog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Tracked {
    /// Of a QEMU that has answered: its library has done its work, and it has mapped `ram`.
    pub(super) fn new(
        receiver: &Receiver,
        qemu: u32,
        user: Option<User>,
        ram: impl AsFd,
        log: WriteLog,
    ) -> Result<Self, NotTracked> {
        let sent = receiver.receive().map_err(NotTracked::NotTaken)?;
        let userfault = Userfault::enable(sent.ok_or(NotTracked::NotMade)?)?;
        let (maps, page_map) = page_map::open(qemu, user).map_err(NotTracked::Proc)?;
        let file = FileId::of(ram).map_err(NotTracked::Proc)?;
        Ok(Self {
            userfault,
            page_map: page_map.into(),
            mappings: Mappings::read(maps, file)?,
            log,
        })
    }

    /// What a measurer is handed, and where QEMU maps the RAM; `None` where somebody writes RAM of whom nobody would know.
    pub(super) fn handed(&self) -> Option<Handed<'_>> {
        self.log.kept.then(|| Handed {
            page_map: self.page_map.as_fd(),
            log: self.log.as_fd(),
            userfault: self.userfault.as_fd(),
            mappings: self.mappings.as_slice().iter().map(mapping).collect(),
        })
    }

    /// Lifts the protection that a measurer left when it ended. It holds nobody up: what it costs is time.
    pub(super) fn release(&self) {
        for mapped in self.mappings.as_slice() {
            if let Err(error) = self.userfault.release(mapped.address()) {
                tracing::debug!(%error, "a protection cannot be lifted");
            }
        }
    }
}

/// For a measurer.
#[derive(Debug)]
pub(super) struct Handed<'t> {
    pub(super) page_map: BorrowedFd<'t>,
    pub(super) log: BorrowedFd<'t>,
    pub(super) userfault: BorrowedFd<'t>,
    pub(super) mappings: Vec<RamMapping>,
}

fn mapping(mapped: &bartizan_write_tracking::Mapped) -> RamMapping {
    RamMapping {
        address: mapped.address().start(),
        size: mapped.address().size(),
        file_offset: mapped.file().offset(),
    }
}

#[cfg(test)]
mod tests;
