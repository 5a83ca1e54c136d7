//! Memory as QEMU has its guest's: a file, mapped shared. And what it takes to track it.
#![expect(
    unsafe_code,
    reason = "maps memory, and writes it while the kernel looks on"
)]

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;

use bartizan_write_tracking::{
    Armed, Device, FileId, FileRange, Log, Mappings, PAGE_SIZE, Pagemap, Tracker, Userfault,
    userfault,
};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

/// A mapped file.
pub(crate) struct Memory {
    pub(crate) file: File,
    start: NonNull<u8>,
    pages: u64,
}

// SAFETY: the mapping is only accessed by volatile writes and by the kernel, and belongs to no thread.
unsafe impl Send for Memory {}
// SAFETY: as above; what several threads write at once is any of it.
unsafe impl Sync for Memory {}

impl Memory {
    /// Of so many pages, none of which is there yet.
    pub(crate) fn new(pages: u64) -> Self {
        let file = memfd_create("ram", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, pages * PAGE_SIZE).unwrap();
        Self::map(file.into(), pages)
    }

    /// All of a file that has so many.
    pub(crate) fn map(file: File, pages: u64) -> Self {
        let (size, prot) = (size(pages), ProtFlags::READ | ProtFlags::WRITE);
        let (none, shared) = (std::ptr::null_mut(), MapFlags::SHARED);
        // SAFETY: a null hint lets the kernel choose free addresses: no memory of ours is replaced.
        let start = unsafe { mmap(none, size, prot, shared, &file, 0) }.unwrap();
        let start = NonNull::new(start.cast()).unwrap();
        Self { file, start, pages }
    }

    pub(crate) fn pages(&self) -> u64 {
        self.pages
    }

    pub(crate) fn all(&self) -> FileRange {
        range(0, self.pages)
    }

    pub(crate) fn address(&self) -> u64 {
        self.start.as_ptr().expose_provenance() as u64
    }

    fn at(&self, offset: u64, len: usize) -> *mut u8 {
        let offset = usize::try_from(offset).unwrap();
        assert!(offset + len <= size(self.pages));
        // SAFETY: it is within the mapping.
        unsafe { self.start.add(offset) }.as_ptr()
    }

    /// Writes eight bytes, by the processor, at a multiple of eight.
    pub(crate) fn write(&self, offset: u64, value: u64) {
        assert!(offset.is_multiple_of(8));
        // SAFETY: it is within the mapping, and aligned.
        unsafe { self.at(offset, 8).cast::<u64>().write_volatile(value) };
    }

    /// Writes some byte to each page.
    pub(crate) fn populate(&self) {
        (0..self.pages).for_each(|page| self.write(page * PAGE_SIZE + 8, page + 1));
    }

    /// Has the kernel write what it reads from `from`, as a QEMU has it read from a disk's image.
    pub(crate) fn read_from(&self, from: impl AsFd, offset: u64, size: usize) {
        // SAFETY: the range is within the mapping; nobody holds a reference to it.
        let into = unsafe { std::slice::from_raw_parts_mut(self.at(offset, size), size) };
        assert_eq!(rustix::io::read(from, into).unwrap(), size);
    }

    /// Has the kernel write it out, as it is in the mapping.
    pub(crate) fn write_to(&self, to: impl AsFd, offset: u64, size: usize) {
        // SAFETY: the range is within the mapping, which nobody writes meanwhile.
        let from = unsafe { std::slice::from_raw_parts(self.at(offset, size), size) };
        assert_eq!(rustix::io::write(to, from).unwrap(), size);
    }

    /// Has the kernel make huge pages of it, at once; whether it did.
    pub(crate) fn collapse(&self) -> bool {
        let (start, size) = (self.start.as_ptr().cast(), size(self.pages));
        // SAFETY: the range is the mapping, of which this advice changes no byte.
        unsafe { libc::madvise(start, size, libc::MADV_COLLAPSE) == 0 }
    }

    /// Maps other memory in its place.
    pub(crate) fn map_anew(&self) {
        let (start, size) = (self.start.as_ptr().cast(), size(self.pages));
        let flags = MapFlags::PRIVATE | MapFlags::FIXED;
        // SAFETY: what is replaced is the mapping, to which nobody holds a reference.
        unsafe { mmap_anonymous(start, size, ProtFlags::READ, flags) }.unwrap();
    }

    /// What it holds, by the file and not by the mapping.
    pub(crate) fn copy(&self, range: FileRange, into: &mut [u8]) {
        let (from, to) = (range.offset(), range.end());
        let into = &mut into[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()];
        self.file.read_exact_at(into, from).unwrap();
    }

    pub(crate) fn contents(&self) -> Vec<u8> {
        let mut all = vec![0; size(self.pages)];
        self.copy(self.all(), &mut all);
        all
    }

    pub(crate) fn tracker(&self, logs: Vec<Log>) -> Tracker {
        let maps = File::open("/proc/self/maps").unwrap();
        let mappings = Mappings::read(maps, FileId::of(&self.file).unwrap()).unwrap();
        Tracker::new(userfault(), pagemap(), mappings, logs)
    }

    /// Which of its pages are protected, as /proc/PID/pagemap has it in bit 57.
    pub(crate) fn protected(&self) -> Vec<u64> {
        let mut entries = vec![0; size(self.pages) / 512];
        let pagemap = File::open("/proc/self/pagemap").unwrap();
        pagemap
            .read_exact_at(&mut entries, self.address() / PAGE_SIZE * 8)
            .unwrap();
        let (entries, _) = entries.as_chunks::<8>();
        let protected = |entry: &[u8; 8]| u64::from_le_bytes(*entry) >> 57 & 1 == 1;
        (0_u64..)
            .zip(entries)
            .filter_map(|(page, entry)| protected(entry).then_some(page))
            .collect()
    }

    /// A number of kB that /proc/PID/smaps tells of the mapping.
    pub(crate) fn smaps(&self, field: &str) -> u64 {
        let mut text = String::new();
        let mut smaps = File::open("/proc/self/smaps").unwrap();
        smaps.read_to_string(&mut text).unwrap();
        let start = format!("{:x}-", self.address());
        let of_it = text.lines().skip_while(|line| !line.starts_with(&start));
        let line = of_it
            .skip(1)
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing refers to it any more.
        unsafe { munmap(self.start.as_ptr().cast(), size(self.pages)) }.unwrap();
    }
}

fn size(pages: u64) -> usize {
    usize::try_from(pages * PAGE_SIZE).unwrap()
}

/// Of this process.
pub(crate) fn userfault() -> Userfault {
    let device = Device::open().expect(
        "/dev/userfaultfd can be opened: it takes a kernel with CONFIG_USERFAULTFD, and root",
    );
    let made = userfault::make(&device).expect("a userfaultfd can be made");
    Userfault::enable(made).expect("writes to shared memory can be tracked: it takes Linux 6.7")
}

/// Of this process.
pub(crate) fn pagemap() -> Pagemap {
    let file = File::open("/proc/self/pagemap").unwrap();
    Pagemap::new(file.into()).expect("the kernel has PAGEMAP_SCAN: it takes Linux 6.7")
}

pub(crate) fn range(first: u64, pages: u64) -> FileRange {
    FileRange::new(first * PAGE_SIZE, pages * PAGE_SIZE).unwrap()
}

/// The pages that a round tells, in order.
pub(crate) fn written(armed: &mut Armed<'_>) -> Vec<u64> {
    pages(|each| armed.written(each).unwrap())
}

/// Those of the cut.
pub(crate) fn cut(armed: &mut Armed<'_>) -> Vec<u64> {
    pages(|each| armed.cut(each).unwrap())
}

fn pages(round: impl FnOnce(&mut dyn FnMut(FileRange))) -> Vec<u64> {
    let mut all = Vec::new();
    round(&mut |range: FileRange| {
        all.extend(range.offset() / PAGE_SIZE..range.end() / PAGE_SIZE);
    });
    all.sort_unstable();
    all
}
