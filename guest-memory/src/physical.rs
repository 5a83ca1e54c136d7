//! The one thing that readers of a guest need: copying out of its physical memory.

use crate::address::Gpa;

/// A guest-physical address that is not RAM: past its end, or in the hole that PCI devices occupy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("guest-physical address {at} is not RAM")]
pub struct NotRam {
    /// The first such address of the access.
    pub at: Gpa,
}

/// A contiguous piece of guest-physical RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RamSpan {
    /// Where it starts.
    pub start: Gpa,
    /// Its size in bytes, never 0; `start + size` does not exceed 2^64 - 1.
    pub size: u64,
}

/// Physical memory of a guest that may run while it is read.
///
/// Two reads of the same address may differ. Whoever decides on what was read must decide on one copy.
pub trait PhysicalMemory {
    /// Fills `buf` from `at` on. An aligned read of eight bytes is one load: it cannot be torn.
    ///
    /// # Errors
    ///
    /// [`NotRam`] where any byte is outside RAM; `buf` may then be filled in part.
    fn read(&self, at: Gpa, buf: &mut [u8]) -> Result<(), NotRam>;

    /// All of the guest's RAM: ascending, without overlap.
    fn spans(&self) -> Vec<RamSpan>;

    /// The little-endian word at `at`.
    ///
    /// # Errors
    ///
    /// As [`PhysicalMemory::read`].
    fn read_u64(&self, at: Gpa) -> Result<u64, NotRam> {
        let mut word = [0; 8];
        self.read(at, &mut word)?;
        Ok(u64::from_le_bytes(word))
    }
}

impl<M: PhysicalMemory + ?Sized> PhysicalMemory for &M {
    fn read(&self, at: Gpa, buf: &mut [u8]) -> Result<(), NotRam> {
        (**self).read(at, buf)
    }

    fn spans(&self) -> Vec<RamSpan> {
        (**self).spans()
    }
}
