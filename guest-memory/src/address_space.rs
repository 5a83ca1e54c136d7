//! Reading guest-virtual memory through its page tables.

#[cfg(test)]
mod tests;

use crate::address::Gva;
use crate::physical::{NotRam, PhysicalMemory};
use crate::walk::{Root, Translation, WalkError, translate};

/// Guest-physical memory seen through one set of page tables.
#[derive(Clone, Copy, Debug)]
pub struct AddressSpace<'m, M: ?Sized> {
    memory: &'m M,
    root: Root,
}

/// Why virtual memory could not be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadVirtualError {
    /// The address is not mapped.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// The address is mapped to something that is not RAM, such as a device.
    #[error("virtual address {at} is mapped outside RAM: {source}")]
    NotRam {
        /// The virtual address.
        at: Gva,
        /// The physical one.
        source: NotRam,
    },
    /// The range passes the end of the address space.
    #[error("{size} bytes at virtual address {at} wrap around")]
    Wraps {
        /// Where the range starts.
        at: Gva,
        /// Its size in bytes.
        size: usize,
    },
}

impl<'m, M: PhysicalMemory + ?Sized> AddressSpace<'m, M> {
    /// The memory that the tables from `root` on map.
    pub const fn new(memory: &'m M, root: Root) -> Self {
        Self { memory, root }
    }

    /// The page tables.
    #[must_use]
    pub const fn root(&self) -> Root {
        self.root
    }

    /// What `at` stands for.
    ///
    /// # Errors
    ///
    /// [`WalkError`] where it is not mapped.
    pub fn translate(&self, at: Gva) -> Result<Translation, WalkError> {
        translate(self.memory, self.root, at)
    }

    /// Fills `buf` from `at` on, walking anew for every page of it.
    ///
    /// # Errors
    ///
    /// [`ReadVirtualError`] for the first byte that cannot be read; `buf` may then be filled in part.
    pub fn read(&self, at: Gva, buf: &mut [u8]) -> Result<(), ReadVirtualError> {
        let size = buf.len();
        let wraps = ReadVirtualError::Wraps { at, size };
        let mut next = at;
        let mut rest = buf;
        while !rest.is_empty() {
            let page = self.translate(next)?;
            let here = usize::try_from(page.bytes_left())
                .unwrap_or(usize::MAX)
                .min(rest.len());
            let (now, later) = rest.split_at_mut(here);
            self.memory
                .read(page.gpa, now)
                .map_err(|source| ReadVirtualError::NotRam { at: next, source })?;
            rest = later;
            if !rest.is_empty() {
                next = next.checked_add(here as u64).ok_or(wraps)?;
            }
        }
        Ok(())
    }

    /// The bytes at `at`, as many as the array has.
    ///
    /// # Errors
    ///
    /// As [`AddressSpace::read`].
    pub fn read_array<const N: usize>(&self, at: Gva) -> Result<[u8; N], ReadVirtualError> {
        let mut bytes = [0; N];
        self.read(at, &mut bytes)?;
        Ok(bytes)
    }

    /// The little-endian 64-bit number at `at`.
    ///
    /// # Errors
    ///
    /// As [`AddressSpace::read`].
    pub fn read_u64(&self, at: Gva) -> Result<u64, ReadVirtualError> {
        self.read_array(at).map(u64::from_le_bytes)
    }
}
