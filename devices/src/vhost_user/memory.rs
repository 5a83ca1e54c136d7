//! The guest's RAM, mapped.

use std::fs::File;
use std::io;

use rustix::fs::{SealFlags, fcntl_get_seals};
use vm_memory::mmap::MmapRegionError;
use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion};

/// Most bytes of one guest's RAM: 1 TiB.
const MAX_RAM: u64 = 1 << 40;

/// One region of RAM as QEMU describes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// First guest-physical address.
    pub guest: u64,
    /// Size in bytes.
    pub size: u64,
    /// First address in QEMU's own address space: rings are given as such addresses.
    pub user: u64,
    /// Offset in the file, in bytes.
    pub offset: u64,
}

/// Mapped RAM.
#[derive(Debug, Default)]
pub struct Ram {
    /// The mapping.
    pub memory: GuestMemoryMmap,
    regions: Vec<Region>,
}

/// RAM cannot be mapped.
#[derive(Debug, thiserror::Error)]
pub enum RamError {
    /// The file could shrink under the mapping, which would kill this process by SIGBUS.
    #[error("the RAM file can shrink; use a memfd sealed with F_SEAL_SHRINK (QEMU: seal=on)")]
    NotSealed,
    /// More RAM than is served.
    #[error("{0} bytes of RAM exceed the limit of {MAX_RAM}")]
    TooLarge(u64),
    /// The file cannot be mapped there.
    #[error("the RAM file cannot be mapped: {0}")]
    Map(#[from] MmapRegionError),
    /// Regions overlap or wrap around.
    #[error("the RAM regions overlap or wrap around")]
    Layout,
}

impl Ram {
    /// Maps regions of files.
    pub fn map(parts: impl IntoIterator<Item = (Region, File)>) -> Result<Self, RamError> {
        let mut parts: Vec<(Region, File)> = parts.into_iter().collect();
        parts.sort_by_key(|(region, _)| region.guest);
        let total = parts
            .iter()
            .fold(0, |sum: u64, (region, _)| sum.saturating_add(region.size));
        if total > MAX_RAM {
            return Err(RamError::TooLarge(total));
        }
        let mut regions = Vec::new();
        let mut mapped = Vec::new();
        for (region, file) in parts {
            if !fcntl_get_seals(&file).is_ok_and(|seals| seals.contains(SealFlags::SHRINK)) {
                return Err(RamError::NotSealed);
            }
            let size = usize::try_from(region.size).map_err(|_| RamError::TooLarge(total))?;
            let mapping = MmapRegion::from_file(FileOffset::new(file, region.offset), size)?;
            let guest = GuestAddress(region.guest);
            mapped.push(GuestRegionMmap::new(mapping, guest).ok_or(RamError::Layout)?);
            regions.push(region);
        }
        let memory = GuestMemoryMmap::from_regions(mapped).map_err(|_| RamError::Layout)?;
        Ok(Self { memory, regions })
    }

    /// The guest-physical address of an address in QEMU's own address space.
    #[must_use]
    pub fn translate(&self, user: u64) -> Option<GuestAddress> {
        self.regions.iter().find_map(|region| {
            let offset = user
                .checked_sub(region.user)
                .filter(|&offset| offset < region.size)?;
            region.guest.checked_add(offset).map(GuestAddress)
        })
    }
}

impl From<RamError> for io::Error {
    fn from(error: RamError) -> Self {
        Self::other(error)
    }
}
