//! Reading guest-virtual memory through its page tables.

#[cfg(test)]
mod tests;

use crate::address::{Gva, PAGE_SIZE};
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

    /// The physical memory below.
    #[must_use]
    pub const fn physical(&self) -> &'m M {
        self.memory
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

    /// The byte at `at`.
    ///
    /// # Errors
    ///
    /// As [`AddressSpace::read`].
    pub fn read_u8(&self, at: Gva) -> Result<u8, ReadVirtualError> {
        self.read_array(at).map(u8::from_le_bytes)
    }

    /// The little-endian 16-bit number at `at`.
    ///
    /// # Errors
    ///
    /// As [`AddressSpace::read`].
    pub fn read_u16(&self, at: Gva) -> Result<u16, ReadVirtualError> {
        self.read_array(at).map(u16::from_le_bytes)
    }

    /// The little-endian 32-bit number at `at`.
    ///
    /// # Errors
    ///
    /// As [`AddressSpace::read`].
    pub fn read_u32(&self, at: Gva) -> Result<u32, ReadVirtualError> {
        self.read_array(at).map(u32::from_le_bytes)
    }

    /// The little-endian 64-bit number at `at`.
    ///
    /// # Errors
    ///
    /// As [`AddressSpace::read`].
    pub fn read_u64(&self, at: Gva) -> Result<u64, ReadVirtualError> {
        self.read_array(at).map(u64::from_le_bytes)
    }

    /// The pointer at `at`.
    ///
    /// # Errors
    ///
    /// As [`AddressSpace::read`].
    pub fn read_pointer(&self, at: Gva) -> Result<Gva, ReadVirtualError> {
        self.read_u64(at).map(Gva)
    }

    /// The bytes at `at` up to a NUL, which is not among them; all `limit` where none is found so far.
    ///
    /// # Errors
    ///
    /// As [`AddressSpace::read`], where memory ends before the string or the limit does.
    pub fn read_cstr(&self, at: Gva, limit: usize) -> Result<Vec<u8>, ReadVirtualError> {
        let mut string = Vec::new();
        let mut next = at;
        let mut chunk = [0; 256];
        while string.len() < limit {
            // A chunk never passes a page, so that what lies behind the string need not be mapped.
            let in_page = usize::try_from(PAGE_SIZE - next.page_offset()).unwrap_or(1);
            let size = in_page.min(limit - string.len()).min(chunk.len());
            let (now, _) = chunk.split_at_mut(size);
            self.read(next, now)?;
            if let Some(end) = now.iter().position(|&byte| byte == 0) {
                string.extend(now.iter().take(end));
                return Ok(string);
            }
            string.extend_from_slice(now);
            next = next
                .checked_add(size as u64)
                .ok_or(ReadVirtualError::Wraps { at, size: limit })?;
        }
        Ok(string)
    }
}
