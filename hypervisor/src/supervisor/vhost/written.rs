//! The log of what the devices process writes of a guest's RAM, which the page tables of QEMU tell nothing of.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use bartizan_write_tracking::{Log, LogError};

/// The log of one QEMU process's RAM: of all its devices together, which one process serves. It outlives that process.
///
/// Mapped here is the log alone, and nothing of the RAM.
#[derive(Clone, Debug)]
pub struct WrittenLog {
    file: Arc<OwnedFd>,
    log: Arc<Log>,
}

impl WrittenLog {
    /// Of RAM of so many bytes, without a note.
    pub fn create(ram_size: u64) -> Result<Self, LogError> {
        let file = Log::create(ram_size)?;
        let log = Log::map(&file, ram_size)?;
        Ok(Self {
            file: Arc::new(file),
            log: Arc::new(log),
        })
    }

    /// Its file, for who notes and who takes notes.
    #[must_use]
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Notes all pages.
    pub fn all(&self) {
        self.log.all();
    }
}
