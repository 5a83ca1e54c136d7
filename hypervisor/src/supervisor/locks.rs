//! By what anybody can tell that a boot has not ended: two locks (flock(2)) in the guest's folder.
//!
//! | file | held by | free means |
//! |---|---|---|
//! | `supervisor.lock` | the supervisor, for its whole life | the supervisor has ended |
//! | `qemu.lock` | the supervisor, and every QEMU that it starts | QEMU has ended, too |
//!
//! A supervisor that answers nothing may be stopped or starved, and its guest runs on. One that was killed gives its
//! descriptors up before its children are told to die with it, and a QEMU that waits for a disk dies when the disk has
//! answered. So a silent socket says nothing, and a dead supervisor not enough: a boot has not ended before both are free.
//! Who has given them up and lives on is the daemon's to kill: they are a sign among those who mean well.
//!
//! QEMU inherits a descriptor of a file of its own, open for reading: hostile QEMU can give up its own lock, never the
//! supervisor's. The measurer inherits neither: it writes nowhere. Nothing in the files is read: whom the daemon kills is
//! in its own note of the start.

use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use tokio::time::{Instant, sleep};

use super::left;

const SUPERVISOR: &str = "supervisor.lock";
const QEMU: &str = "qemu.lock";
/// Looking at a lock takes it, shared, for an instant: so long a supervisor tries again.
const GLANCES: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(10);

/// Both locks of one boot. Dropping them says that it has ended.
#[derive(Debug)]
pub struct Locks {
    _supervisor: File,
    qemu: File,
}

/// Who of a boot is still there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holder {
    /// The boot has ended.
    Nobody,
    /// The supervisor is gone, and its QEMU not yet.
    Qemu,
    /// The supervisor.
    Supervisor,
}

/// The locks of a boot cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A former boot of the guest has not ended.
    #[error("a boot of this guest has not ended: {0:?} is still there")]
    Held(Holder),
    /// The files cannot be used.
    #[error("the locks of the guest's folder: {0}")]
    Io(#[from] io::Error),
}

impl Locks {
    /// Takes both, in a guest's folder.
    pub async fn take(folder: &Path) -> Result<Self, LockError> {
        let supervisor = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(folder.join(SUPERVISOR))?;
        let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::CLOEXEC;
        let qemu = rustix::fs::open(folder.join(QEMU), flags, Mode::RUSR | Mode::WUSR)
            .map_err(io::Error::from)?;
        let qemu = File::from(qemu);
        let give_up = Instant::now() + GLANCES;
        lock(&supervisor, give_up, Holder::Supervisor).await?;
        lock(&qemu, give_up, Holder::Qemu).await?;
        Ok(Self {
            _supervisor: supervisor,
            qemu,
        })
    }

    /// What QEMU must inherit.
    #[must_use]
    pub fn for_qemu(&self) -> BorrowedFd<'_> {
        self.qemu.as_fd()
    }
}

/// Who of the last boot in a guest's folder is still there.
pub fn holder(folder: &Path) -> io::Result<Holder> {
    if is_held(&folder.join(SUPERVISOR))? {
        Ok(Holder::Supervisor)
    } else if is_held(&folder.join(QEMU))? {
        Ok(Holder::Qemu)
    } else {
        Ok(Holder::Nobody)
    }
}

async fn lock(file: &File, give_up: Instant, holder: Holder) -> Result<(), LockError> {
    if locked(file, give_up).await? {
        Ok(())
    } else {
        Err(LockError::Held(holder))
    }
}

/// Locks a file, trying until `give_up`; whether it is locked now.
pub(crate) async fn locked(file: &File, give_up: Instant) -> io::Result<bool> {
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if Instant::now() < give_up => sleep(RETRY).await,
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

fn is_held(path: &Path) -> io::Result<bool> {
    // What is no file is no lock.
    let Some(file) = left::open(path)? else {
        return Ok(false);
    };
    // Shared: who looks at the same time sees no holder in us.
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests;
