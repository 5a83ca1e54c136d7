//! Which parts of a file are a guest's RAM, and what can be wrong with them.

use rustix::io::Errno;

use crate::address::{Gpa, PAGE_SIZE};

/// Where a piece of guest-physical memory stands in the file behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RamRange {
    /// The guest-physical address of its first byte, a multiple of 4096.
    pub address: Gpa,
    /// Its size in bytes, a multiple of 4096 and not 0.
    pub size: u64,
    /// Where its first byte is in the file, a multiple of 4096. Above the PCI hole it differs from the address.
    pub file_offset: u64,
}

/// Why RAM could not be mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MapRamError {
    /// The file could be truncated, which would kill its readers.
    #[error(
        "the RAM file can be truncated under its readers; use a memfd and seal it with F_SEAL_SHRINK"
    )]
    NotSealed,
    /// No range was named.
    #[error("the guest has no RAM range; name at least one")]
    NoRange,
    /// A range is empty, not of whole pages, or passes the end of the address space.
    #[error("RAM range {0:?} is empty, not aligned to 4096 bytes, or wraps around")]
    BadRange(RamRange),
    /// Ranges overlap or are not in the order of their addresses.
    #[error(
        "RAM range {0:?} starts before the end of the one before it; sort the ranges by address"
    )]
    Unordered(RamRange),
    /// The file is smaller than the ranges say.
    #[error("RAM range {range:?} passes the end of the RAM file of {file_size} bytes")]
    BeyondFile {
        /// The range.
        range: RamRange,
        /// The file's size in bytes.
        file_size: u64,
    },
    /// The kernel refused.
    #[error("cannot {doing} the RAM file: {errno}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
}

/// Refuses ranges that cannot be mapped from a file of `file_size` bytes, or contradict one another.
pub(super) fn check(ranges: &[RamRange], file_size: u64) -> Result<(), MapRamError> {
    if ranges.is_empty() {
        return Err(MapRamError::NoRange);
    }
    let mut free_from = 0;
    for &range in ranges {
        let unaligned = (range.address.0 | range.size | range.file_offset) % PAGE_SIZE != 0;
        let end = range.address.checked_add(range.size);
        let (false, Some(end), 1..) = (unaligned, end, range.size) else {
            return Err(MapRamError::BadRange(range));
        };
        if range.address.0 < free_from {
            return Err(MapRamError::Unordered(range));
        }
        let file_end = range.file_offset.checked_add(range.size);
        if file_end.is_none_or(|file_end| file_end > file_size) {
            return Err(MapRamError::BeyondFile { range, file_size });
        }
        free_from = end.0;
    }
    Ok(())
}
