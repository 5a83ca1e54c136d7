//! For tests: RAM of which what a device writes is noted, and whether it is.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::OwnedFd;

use bartizan_write_tracking::{FileRange, Log, PAGE_SIZE};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::pread;

/// A RAM file, and who measures it.
pub(crate) struct Noted {
    file: File,
    log: Log,
    before: Vec<u8>,
}

/// Numbers of pages of the RAM file.
pub(crate) type Pages = BTreeSet<u64>;

/// A RAM file of so many bytes.
pub(crate) fn ram_file(size: u64) -> File {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = File::from(memfd_create("ram", flags).unwrap());
    file.set_len(size).unwrap();
    fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
    file
}

impl Noted {
    /// RAM of so many bytes; also its file and that of its log, for a device.
    pub(crate) fn new(size: u64) -> (Self, File, OwnedFd) {
        let (file, log) = (ram_file(size), Log::create(size).unwrap());
        let noted = Self {
            file: file.try_clone().unwrap(),
            log: Log::map(&log, size).unwrap(),
            before: Vec::new(),
        };
        (noted, file, log)
    }

    /// What was written before counts no more.
    pub(crate) fn begin(&mut self) {
        self.take();
        self.before = self.bytes();
    }

    /// Pages that were noted since then. Each that is another one than then has to be among them.
    pub(crate) fn end(&mut self) -> Pages {
        let noted = self.take();
        let after = self.bytes();
        let page = PAGE_SIZE as usize;
        let pairs = self.before.chunks(page).zip(after.chunks(page));
        for (number, _) in (0..).zip(pairs).filter(|(_, (was, is))| was != is) {
            assert!(noted.contains(&number), "page {number} is not in {noted:?}");
        }
        noted
    }

    fn take(&self) -> Pages {
        let mut pages = Pages::new();
        let all = FileRange::new(0, self.log.ram_size()).unwrap();
        self.log.take(all, |range| {
            pages.extend(range.offset() / PAGE_SIZE..range.end() / PAGE_SIZE);
        });
        pages
    }

    fn bytes(&self) -> Vec<u8> {
        let size = usize::try_from(self.log.ram_size()).unwrap();
        let mut bytes = vec![0; size];
        assert_eq!(pread(&self.file, &mut bytes, 0).unwrap(), size);
        bytes
    }
}
