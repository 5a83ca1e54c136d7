//! The guest's RAM: a memory file that the supervisor makes and hands on.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, Mode, SealFlags};

/// A guest's RAM file. Nothing here maps it.
#[derive(Debug)]
pub struct RamFile {
    file: OwnedFd,
}

impl RamFile {
    /// Makes a RAM file of `size` bytes that can neither grow nor shrink: no process that maps it can be
    /// made to fault (SIGBUS) by another's truncation.
    pub fn create(size: u64) -> io::Result<Self> {
        let file = rustix::fs::memfd_create(
            "bartizan-ram",
            MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
        )?;
        rustix::fs::ftruncate(&file, size)?;
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        // QEMU's user opens it once through /proc/self/fd; see `close_to_others`.
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o666))?;
        Ok(Self { file })
    }

    /// Takes everybody else's right to open the file anew, once QEMU has opened it: a measurer that was
    /// given a read-only descriptor can then not open it for writing through `/proc/self/fd`.
    pub fn close_to_others(&self) -> io::Result<()> {
        Ok(rustix::fs::fchmod(&self.file, Mode::from_raw_mode(0o600))?)
    }

    /// Another descriptor of the file, open for reading only.
    pub fn reopen_read_only(&self) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .open(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }
}

impl AsFd for RamFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn size_is_final_and_the_second_descriptor_only_reads() {
        let ram = RamFile::create(1 << 20).unwrap();
        assert!(rustix::fs::ftruncate(&ram, 1 << 21).is_err());
        assert!(rustix::fs::ftruncate(&ram, 0).is_err());
        rustix::io::pwrite(&ram, b"guest", 4096).unwrap();
        let reader = ram.reopen_read_only().unwrap();
        let mut bytes = [0; 5];
        reader.read_exact_at(&mut bytes, 4096).unwrap();
        assert_eq!(&bytes, b"guest");
        assert!(reader.write_at(b"x", 0).is_err());
    }
}
