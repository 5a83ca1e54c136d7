//! The guest's memory as QEMU describes it to a back end, and the one word that is read from it.

use std::os::fd::{AsFd, OwnedFd};

use super::message::number;

/// Most regions in a table (the protocol's limit without configurable slots).
pub(super) const MAX_REGIONS: usize = 8;

/// The regions that QEMU shares with the back end: all of this guest's own RAM file.
#[derive(Debug)]
pub struct MemoryTable {
    regions: Vec<Region>,
    payload: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Region {
    /// First address in QEMU's address space.
    user_address: u64,
    size: u64,
    /// Offset in the file.
    file_offset: u64,
}

/// A table of memory that is not shared, or memory that is not in the table.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The table's bytes are none.
    #[error("QEMU's memory table is malformed")]
    Malformed,
    /// A region is of another file than the guest's RAM.
    #[error("QEMU shares memory that is not the guest's RAM file; the device is cut off")]
    ForeignFile,
    /// An address is in no region.
    #[error("QEMU address {0:#x} is in no shared region")]
    Unmapped(u64),
    /// The RAM file cannot be read.
    #[error("guest RAM cannot be read: {0}")]
    Io(#[from] std::io::Error),
}

impl MemoryTable {
    /// Reads a table (`VHOST_USER_SET_MEM_TABLE`) and checks that each descriptor is the file `ram`.
    pub fn new(
        payload: Vec<u8>,
        descriptors: Vec<OwnedFd>,
        ram: impl AsFd,
    ) -> Result<Self, MemoryError> {
        let regions = regions(&payload).ok_or(MemoryError::Malformed)?;
        if regions.len() != descriptors.len() {
            return Err(MemoryError::Malformed);
        }
        let identity = |file: &dyn AsFd| -> Result<(u64, u64), MemoryError> {
            let stat = rustix::fs::fstat(file.as_fd()).map_err(std::io::Error::from)?;
            Ok((stat.st_dev, stat.st_ino))
        };
        let ram = identity(&ram)?;
        for descriptor in &descriptors {
            if identity(descriptor)? != ram {
                return Err(MemoryError::ForeignFile);
            }
        }
        Ok(Self {
            regions,
            payload,
            descriptors,
        })
    }

    /// The table as it was sent.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Its descriptors, one a region.
    #[must_use]
    pub fn descriptors(&self) -> &[OwnedFd] {
        &self.descriptors
    }

    /// The used ring's index: how many buffers the guest has been told are done (`struct virtq_used`,
    /// virtio 1.2 section 2.7.8). Read with one system call: nothing of guest RAM is mapped here.
    pub fn used_index(&self, used_ring: u64) -> Result<u16, MemoryError> {
        let unmapped = || MemoryError::Unmapped(used_ring);
        let address = used_ring.checked_add(2).ok_or_else(unmapped)?;
        let (offset, descriptor) = self
            .regions
            .iter()
            .zip(&self.descriptors)
            .find_map(|(region, descriptor)| Some((region.translate(address)?, descriptor)))
            .ok_or_else(unmapped)?;
        let mut index = [0; 2];
        match rustix::io::pread(descriptor, &mut index, offset) {
            Ok(2) => Ok(u16::from_le_bytes(index)),
            Ok(_) => Err(unmapped()),
            Err(error) => Err(MemoryError::Io(error.into())),
        }
    }
}

impl Region {
    /// The file's offset of two bytes at `address`.
    fn translate(self, address: u64) -> Option<u64> {
        let inside = address.checked_sub(self.user_address)?;
        if inside.checked_add(2)? > self.size {
            return None;
        }
        self.file_offset.checked_add(inside)
    }
}

/// `u32` count, `u32` padding, then per region `u64` guest address, size, QEMU's address, file offset.
fn regions(payload: &[u8]) -> Option<Vec<Region>> {
    let (head, table) = payload.split_at_checked(8)?;
    let [a, b, c, d, ..] = *head else { return None };
    let count = u32::from_ne_bytes([a, b, c, d]) as usize;
    if count > MAX_REGIONS || table.len() != count * 32 {
        return None;
    }
    let region = |bytes: &[u8]| {
        let mut numbers = bytes.chunks(8).map(number);
        let _guest_address = numbers.next()??;
        Some(Region {
            size: numbers.next()??,
            user_address: numbers.next()??,
            file_offset: numbers.next()??,
        })
    };
    table.chunks(32).map(region).collect()
}

#[cfg(test)]
mod tests;
