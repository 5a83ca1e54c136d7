//! The guest's RAM, mapped.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bartizan_write_tracking::{Log, LogError};
use rustix::fs::{SealFlags, fcntl_get_seals, fstat, fstatfs};
use vm_memory::mmap::{MmapRegionBuilder, MmapRegionError};
use vm_memory::{FileOffset, GuestAddress, GuestRegionMmap};

use super::written::{Memory, Written};

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
    pub memory: Memory,
    regions: Vec<Region>,
    /// Of which file each region is.
    files: Vec<Inode>,
    /// The file of the log of what is written, if one is kept.
    log: Option<OwnedFd>,
}

/// Which file it is, whatever descriptor leads to it: device and inode number.
type Inode = (u64, u64);

/// RAM cannot be mapped.
#[derive(Debug, thiserror::Error)]
pub enum RamError {
    /// The file could shrink under the mapping, which would kill this process by SIGBUS.
    #[error("the RAM file can shrink; use a memfd sealed with F_SEAL_SHRINK (QEMU: seal=on)")]
    NotSealed,
    /// A page of it that is not there yet may not be to be had: of huge pages there may be none left, which is a SIGBUS too.
    #[error("the RAM file is no memfd of ordinary pages")]
    NotOrdinary,
    /// A region reaches beyond the file.
    #[error("a region reaches beyond the end of its RAM file")]
    PastEnd,
    /// More RAM than is served.
    #[error("{0} bytes of RAM exceed the limit of {MAX_RAM}")]
    TooLarge(u64),
    /// The file cannot be mapped there.
    #[error("the RAM file cannot be mapped: {0}")]
    Map(#[from] MmapRegionError),
    /// Pages are noted by their place in the one file that is measured.
    #[error("the RAM is of several files, and what is written of it is noted by the place in one")]
    SeveralFiles,
    /// What is written cannot be noted.
    #[error("the RAM's log is none of this file: {0}")]
    Log(#[from] LogError),
    /// The kernel does not say which file it is.
    #[error("the RAM file cannot be looked at: {0}")]
    Stat(#[source] rustix::io::Errno),
    /// Regions overlap or wrap around.
    #[error("the RAM regions overlap or wrap around")]
    Layout,
}

impl Ram {
    /// Maps regions of files.
    pub fn map(parts: impl IntoIterator<Item = (Region, File)>) -> Result<Self, RamError> {
        let mut ram = Self::default();
        ram.remap(parts)?;
        Ok(ram)
    }

    /// RAM that is not described yet; what is written of it is noted in the log of that file, if there is one.
    #[must_use]
    pub fn logged(log: Option<OwnedFd>) -> Self {
        Self {
            log,
            ..Self::default()
        }
    }

    /// Maps regions of files instead, unless these are the ones that are mapped: QEMU describes the same RAM anew after
    /// every pause, and a new mapping would have to be faulted in again. The mapping keeps its files open, so that an
    /// inode number cannot come to mean another file.
    pub fn remap(
        &mut self,
        parts: impl IntoIterator<Item = (Region, File)>,
    ) -> Result<(), RamError> {
        let mut parts: Vec<(Region, File)> = parts.into_iter().collect();
        parts.sort_by_key(|(region, _)| region.guest);
        let files = parts
            .iter()
            .map(|(_, file)| inode(file))
            .collect::<Result<Vec<_>, _>>()?;
        let regions = parts.iter().map(|(region, _)| region);
        let same = !parts.is_empty() && self.files == files && self.regions.iter().eq(regions);
        if !same {
            let log = self.log_of(&parts, &files)?;
            (self.memory, self.regions) = mapped(parts, log.as_ref())?;
            self.files = files;
        }
        Ok(())
    }

    /// The log, which is to be of all of the one file.
    fn log_of(
        &self,
        parts: &[(Region, File)],
        files: &[Inode],
    ) -> Result<Option<Arc<Log>>, RamError> {
        let (Some(log), Some((_, file))) = (&self.log, parts.first()) else {
            return Ok(None);
        };
        if files.windows(2).any(|pair| pair.first() != pair.last()) {
            return Err(RamError::SeveralFiles);
        }
        let size = fstat(file).map_err(RamError::Stat)?.st_size;
        Ok(Some(Arc::new(Log::map(log, size.cast_unsigned())?)))
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

fn mapped(
    parts: Vec<(Region, File)>,
    log: Option<&Arc<Log>>,
) -> Result<(Memory, Vec<Region>), RamError> {
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
        // What memfd_create(2) makes without MFD_HUGETLB.
        if fstatfs(&file).map_err(RamError::Stat)?.f_type != libc::TMPFS_MAGIC {
            return Err(RamError::NotOrdinary);
        }
        // What is mapped behind a file's end is a SIGBUS, and nobody else looks; it cannot shrink from here on.
        let end = region.offset.checked_add(region.size);
        let length = fstat(&file).map_err(RamError::Stat)?.st_size;
        if end.is_none_or(|end| end > length.cast_unsigned()) {
            return Err(RamError::PastEnd);
        }
        let size = usize::try_from(region.size).map_err(|_| RamError::TooLarge(total))?;
        let written = Written::new(log.cloned(), region.offset);
        let mapping = MmapRegionBuilder::new_with_bitmap(size, written)
            .with_file_offset(FileOffset::new(file, region.offset))
            .with_mmap_prot(libc::PROT_READ | libc::PROT_WRITE)
            .with_mmap_flags(libc::MAP_NORESERVE | libc::MAP_SHARED)
            .build()?;
        let guest = GuestAddress(region.guest);
        mapped.push(GuestRegionMmap::new(mapping, guest).ok_or(RamError::Layout)?);
        regions.push(region);
    }
    let memory = Memory::from_regions(mapped).map_err(|_| RamError::Layout)?;
    Ok((memory, regions))
}

fn inode(file: &File) -> Result<Inode, RamError> {
    let status = fstat(file).map_err(RamError::Stat)?;
    Ok((status.st_dev, status.st_ino))
}

impl From<RamError> for io::Error {
    fn from(error: RamError) -> Self {
        Self::other(error)
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{MemfdFlags, fcntl_add_seals, ftruncate, memfd_create};
    use vm_memory::GuestMemoryBackend;

    use super::*;
    use crate::vhost_user::noted::ram_file as file_of;

    const SIZE: u64 = 1 << 16;
    const REGION: Region = Region {
        guest: 0,
        size: SIZE,
        user: 0x7f00_0000_0000,
        offset: 0,
    };

    fn ram_file() -> File {
        file_of(SIZE)
    }

    fn place(ram: &Ram) -> *mut u8 {
        ram.memory.get_host_address(GuestAddress(0)).unwrap()
    }

    /// Known attack: the device touches what is behind the file's end, and every guest's device ends.
    #[test]
    fn regions_beyond_the_file_are_refused() {
        for (size, offset) in [
            (SIZE + 4096, 0),
            (SIZE, 4096),
            (SIZE, 0x3d << 56),
            (SIZE, !0xfff),
        ] {
            let region = Region {
                size,
                offset,
                ..REGION
            };
            let refused = Ram::map([(region, ram_file())]);
            assert!(matches!(refused, Err(RamError::PastEnd)), "{region:?}");
        }
    }

    /// Known attack: its pages are touched when there are none left, and every guest's device ends.
    #[test]
    fn huge_pages_are_refused() {
        let flags = MemfdFlags::ALLOW_SEALING | MemfdFlags::HUGETLB;
        // A kernel without huge pages makes no such file.
        let Ok(file) = memfd_create("ram", flags) else {
            return;
        };
        ftruncate(&file, 1 << 21).unwrap();
        fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
        let refused = Ram::map([(REGION, file.into())]);
        assert!(matches!(refused, Err(RamError::NotOrdinary)));
    }

    #[test]
    fn the_same_ram_stays_where_it_is() {
        let file = ram_file();
        let mut ram = Ram::map([(REGION, file.try_clone().unwrap())]).unwrap();
        let before = place(&ram);
        ram.remap([(REGION, file.try_clone().unwrap())]).unwrap();
        assert_eq!(place(&ram), before);
        assert_eq!(ram.translate(REGION.user), Some(GuestAddress(0)));
    }

    #[test]
    fn another_file_or_region_is_mapped() {
        let file = ram_file();
        let mut ram = Ram::map([(REGION, file.try_clone().unwrap())]).unwrap();
        let moved = Region {
            user: REGION.user + SIZE,
            ..REGION
        };
        ram.remap([(moved, file.try_clone().unwrap())]).unwrap();
        assert_eq!(ram.translate(REGION.user), None);
        assert_eq!(ram.translate(moved.user), Some(GuestAddress(0)));
        let before = place(&ram);
        ram.remap([(moved, ram_file())]).unwrap();
        assert_ne!(place(&ram), before);
        assert!(matches!(ram.remap([]), Err(RamError::Layout)));
    }

    #[test]
    fn a_file_that_can_shrink_is_refused_and_nothing_changes() {
        let mut ram = Ram::map([(REGION, ram_file())]).unwrap();
        let loose: File = memfd_create("ram", MemfdFlags::ALLOW_SEALING)
            .unwrap()
            .into();
        ftruncate(&loose, SIZE).unwrap();
        assert!(matches!(
            ram.remap([(REGION, loose)]),
            Err(RamError::NotSealed)
        ));
        assert_eq!(ram.translate(REGION.user), Some(GuestAddress(0)));
    }

    fn logged(ram_size: u64) -> Ram {
        Ram::logged(Some(Log::create(ram_size).unwrap()))
    }

    /// Pages beyond the log would be written and not noted; those of less RAM than the log is of, not measured.
    #[test]
    fn a_log_is_of_all_of_the_ram_file() {
        for ram_size in [SIZE / 2, SIZE + (1 << 20)] {
            let refused = logged(ram_size).remap([(REGION, ram_file())]);
            let is_other = matches!(refused, Err(RamError::Log(LogError::OtherSize { .. })));
            assert!(is_other, "{refused:?}");
        }
        // A part of the file is the guest's.
        let region = Region {
            size: SIZE / 2,
            offset: SIZE / 4,
            ..REGION
        };
        let mut ram = logged(SIZE);
        ram.remap([(region, ram_file())]).unwrap();
        // A file that has grown is not the one that is measured.
        let file = ram_file();
        file.set_len(SIZE + (1 << 20)).unwrap();
        let refused = ram.remap([(region, file)]);
        assert!(matches!(refused, Err(RamError::Log(_))), "{refused:?}");
        assert!(ram.translate(REGION.user).is_some());
    }

    /// Known attack: a guest that took its QEMU over has its device write where the log says nothing of.
    #[test]
    fn ram_of_several_files_has_no_log() {
        let next = Region {
            guest: SIZE,
            user: REGION.user + SIZE,
            ..REGION
        };
        let table = || [(REGION, ram_file()), (next, ram_file())];
        let refused = logged(SIZE).remap(table());
        assert!(matches!(refused, Err(RamError::SeveralFiles)));
        Ram::map(table()).unwrap();
    }

    #[test]
    fn what_is_no_log_is_refused() {
        let file = memfd_create("log", MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&file, 8).unwrap();
        let refused = Ram::logged(Some(file)).remap([(REGION, ram_file())]);
        assert!(matches!(refused, Err(RamError::Log(LogError::NotSealed))));
    }
}
