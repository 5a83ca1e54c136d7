//! Which pages of another process were written since they were protected: the request `PAGEMAP_SCAN` of its
//! `/proc/PID/pagemap` (Linux 6.7; include/uapi/linux/fs.h, fs/proc/task_mmu.c, Documentation/admin-guide/mm/pagemap.rst).
//!
//! # What "written" means
//!
//! There is no bit for it. A page is *written* unless its page table entry says that it is protected, and an entry that says so
//! is not writable (`pte_mkuffd_wp` in arch/x86/include/asm/pgtable.h):
//!
//! | the page | its entry while protected | once it may have been written |
//! |---|---|---|
//! | is mapped | the bit of userfaultfd | without that bit, which the fault of the write has cleared (mm/memory.c, `do_wp_page`) |
//! | is not mapped: a hole of the file, or in the page cache alone, or swapped out | a marker (`PTE_MARKER_UFFD_WP`), which protection puts into empty entries (mm/mprotect.c, `change_pte_range`) | empty, or mapped without the bit |
//! | is moved or swapped while protected | the bit in the migration or swap entry; of shared memory a marker in its place (mm/rmap.c, `pte_install_uffd_wp_if_needed`) | |
//!
//! A first write to a hole finds the marker: the page is mapped protected, and the write faults once more (`set_pte_range`). So
//! whatever loses a bit or a marker makes its page *written*: to copy it once more is all that it costs.
//!
//! Two things would break that, and do not happen to what [`Userfault::protect`](crate::Userfault::protect) has protected:
//!
//! - **A huge page.** One of a file that is split leaves nothing behind (mm/huge_memory.c, `__split_huge_pmd_locked`), and where
//!   there is not even a table of pages, kernels before July 2026 said "not written" (`pagemap_scan_pte_hole`). So a kernel that
//!   protects while it scans (`PM_SCAN_WP_MATCHING`) could split a huge page that was written and then miss it. Protection by
//!   userfaultfd splits it first and makes a table in any case (mm/mprotect.c, `pgtable_split_needed`,
//!   `pgtable_populate_needed`), and as long as the range is registered nobody makes a huge page in its place
//!   (mm/khugepaged.c, `retract_page_tables` and what is beside it).
//! - **An empty entry that counts as not written**, as it did before July 2026 for other masks than the ones used here: exactly
//!   these have always taken the way on which it counts as written (`pagemap_scan_pmd_entry`).
//!
//! What a process no more maps is skipped without a word, and what a discard dropped (`MADV_REMOVE`, `MADV_DONTNEED`) is not told
//! by every kernel: neither may be done to RAM that is tracked.
//!
//! # Where a scan ends
//!
//! The kernel says it in `walk_end`, which is not to be relied on: it is left from an earlier part of the walk where the last part
//! filled no buffer (`do_pagemap_scan`). A scan is complete if it told fewer ranges than it had place for. Else it goes on where
//! the last range that it told ends, never behind what it has looked at; what was looked at and not told is looked at once more.
#![expect(
    unsafe_code,
    reason = "a request of ioctl(2) that fills a buffer by its address"
)]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::ffi::c_void;
use rustix::io::{self, Errno};
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};

use crate::error::TrackError;
use crate::range::AddressRange;

/// `PAGEMAP_SCAN`.
pub(crate) const SCAN: Opcode = opcode::read_write::<Arguments>(b'f', 16);

/// `PM_SCAN_WP_MATCHING`: protect what is told.
const PROTECT: u64 = 1 << 0;
/// `PM_SCAN_CHECK_WPASYNC`: a range that is not tracked is an error, not clean.
const CHECK_TRACKED: u64 = 1 << 1;
/// `PAGE_IS_WRITTEN`.
const WRITTEN: u64 = 1 << 1;

/// Most ranges that the kernel tells at once.
const AT_ONCE: usize = 1024;

/// `struct pm_scan_arg`.
#[repr(C)]
struct Arguments {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

const SIZE: u64 = 96;
const _: () = assert!(size_of::<Arguments>() as u64 == SIZE);

/// `struct page_region`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// The open `/proc/PID/pagemap` of the process whose writes are tracked. It is of the memory that the process had when it was
/// opened: open it after the last execve(2).
pub struct Pagemap {
    file: OwnedFd,
    regions: Vec<Region>,
}

impl Pagemap {
    /// Tries it.
    ///
    /// # Errors
    ///
    /// [`TrackError::NoScan`] where the kernel does not know the request.
    pub fn new(file: OwnedFd) -> Result<Self, TrackError> {
        let none = Region {
            start: 0,
            end: 0,
            categories: 0,
        };
        let mut pagemap = Self {
            file,
            regions: vec![none; AT_ONCE],
        };
        match pagemap.scan_once(0, 0, 0) {
            Ok(_) => Ok(pagemap),
            // Another file, or Linux before 6.7; one that knows other requests and not this.
            Err(Errno::NOTTY | Errno::INVAL) => Err(TrackError::NoScan),
            Err(errno) => Err(TrackError::system("scan a page map")(errno)),
        }
    }

    /// Tells the ranges of `range` that were written, in order, and leaves them so.
    ///
    /// # Errors
    ///
    /// What `found` says; [`TrackError::NotTracked`] where any of `range` is not registered with its process's userfaultfd. What
    /// was told by then is true.
    pub fn scan(
        &mut self,
        range: AddressRange,
        found: impl FnMut(AddressRange) -> Result<(), TrackError>,
    ) -> Result<(), TrackError> {
        self.walk(range, CHECK_TRACKED, found)
    }

    /// The same, and protects what it tells.
    ///
    /// An error leaves ranges protected that nobody was told of: whatever was written is not known any more. It relies on what the
    /// module says of huge pages, so that it is for ranges that were protected by userfaultfd first; and the kernel has KVM forget
    /// all of `range` each time, whatever was written of it (`do_pagemap_scan`, `mmu_notifier_invalidate_range_start`).
    pub fn scan_and_protect(
        &mut self,
        range: AddressRange,
        found: impl FnMut(AddressRange) -> Result<(), TrackError>,
    ) -> Result<(), TrackError> {
        self.walk(range, CHECK_TRACKED | PROTECT, found)
    }

    fn walk(
        &mut self,
        range: AddressRange,
        flags: u64,
        mut found: impl FnMut(AddressRange) -> Result<(), TrackError>,
    ) -> Result<(), TrackError> {
        let mut from = range.start();
        while from < range.end() {
            let told = match self.scan_once(from, range.end(), flags) {
                Ok(told) => told,
                Err(Errno::PERM) => return Err(TrackError::NotTracked(range)),
                Err(errno) => return Err(TrackError::system("scan a page map")(errno)),
            };
            for region in self.regions.iter().take(told) {
                // Also what makes sure that this ends.
                let region = AddressRange::between(region.start, region.end)
                    .filter(|region| region.start() >= from && region.end() <= range.end())
                    .ok_or(TrackError::NotTracked(range))?;
                from = region.end();
                found(region)?;
            }
            if told < self.regions.len() {
                break;
            }
        }
        Ok(())
    }

    /// One request; how many of `regions` it filled.
    fn scan_once(&mut self, start: u64, end: u64, flags: u64) -> io::Result<usize> {
        let request = Scan(Arguments {
            size: SIZE,
            flags,
            start,
            end,
            walk_end: 0,
            vec: self.regions.as_mut_ptr().expose_provenance() as u64,
            vec_len: self.regions.len() as u64,
            max_pages: 0,
            category_inverted: 0,
            // These masks and no others: see above.
            category_mask: WRITTEN,
            category_anyof_mask: 0,
            return_mask: WRITTEN,
        });
        // SAFETY: the kernel writes to the arguments, which live as long as the call, and to as many regions as it was given
        // place for, which are ours alone meanwhile and may hold any bits. A file of another kind refuses the request.
        unsafe { ioctl(self.file.as_fd(), request) }
    }
}

impl AsFd for Pagemap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl std::fmt::Debug for Pagemap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pagemap").field(&self.file).finish()
    }
}

struct Scan(Arguments);

// SAFETY: the request takes a pointer to `struct pm_scan_arg`, which it also writes to, and answers how many ranges it told.
unsafe impl Ioctl for Scan {
    type Output = usize;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        SCAN
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut self.0).cast()
    }

    unsafe fn output_from_ptr(told: IoctlOutput, _: *mut c_void) -> io::Result<usize> {
        usize::try_from(told).map_err(|_| Errno::RANGE)
    }
}
