//! The words of a log, mapped from a file that others write: the log's unsafe code.
#![expect(
    unsafe_code,
    reason = "mapping memory that other processes write, and looking at it as atomic words"
)]

use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU64;

use rustix::io::{self, Errno};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Invariant: `count` words from `start` on are mapped readable and writable until this is dropped, and the file behind them
/// cannot shrink (the caller of [`Words::map`] saw to that), so that no access to them faults.
#[derive(Debug)]
pub(super) struct Words {
    start: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: the words are only accessed atomically, and belong to no thread.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    /// Maps all `size` bytes of `file`: not 0, a multiple of 8, and sealed against shrinking.
    pub(super) fn map(file: BorrowedFd<'_>, size: u64) -> io::Result<Self> {
        let size = usize::try_from(size).map_err(|_| Errno::NOMEM)?;
        // SAFETY: a null hint lets the kernel choose free addresses: no memory of ours is replaced.
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                size,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                file,
                0,
            )
        }?;
        Ok(Self {
            start: NonNull::new(start.cast()).ok_or(Errno::FAULT)?,
            count: size / size_of::<AtomicU64>(),
        })
    }

    fn all(&self) -> &[AtomicU64] {
        // SAFETY: by the invariant they are mapped for as long as `self` is; a mapping begins at a page. Any bits are a word, and
        // whoever else changes them, here or in another process, changes what a shared atomic may change.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }

    /// The words that have the bits from `first` to before `end`, and which of their bits those are. What there is no word for is
    /// left out.
    pub(super) fn masks(&self, first: u64, end: u64) -> impl Iterator<Item = (&AtomicU64, u64)> {
        let words = first / 64..end.div_ceil(64).max(first / 64);
        words.filter_map(move |index| {
            let from = first.saturating_sub(index * 64);
            let to = (end - index * 64).min(64);
            let below = |bits: u64| {
                u64::MAX
                    .checked_shr(64 - u32::try_from(bits).ok()?)
                    .or(Some(0))
            };
            let mask = below(to)? & !below(from)?;
            let word = self.all().get(usize::try_from(index).ok()?)?;
            (mask != 0).then_some((word, mask))
        })
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing refers to it any more. A failure would leak it, no more.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.count * 8) };
    }
}
