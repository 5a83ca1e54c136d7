//! One read-only shared mapping of a file that others write: the crate's unsafe code.
#![expect(
    unsafe_code,
    reason = "mapping memory and reading what another process writes"
)]

use std::arch::asm;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};

use rustix::io::{self, Errno};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

/// Invariant: `size` bytes from `start` on are mapped readable until this is dropped, and the file behind them
/// cannot shrink (the caller of [`Mapping::new`] saw to that), so that no read of them faults.
pub(super) struct Mapping {
    start: NonNull<u8>,
    size: usize,
}

// SAFETY: the mapping is only ever read, and belongs to no thread.
unsafe impl Send for Mapping {}
// SAFETY: as above; concurrent reads of it by several threads do not affect one another.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `size` bytes of `file` from `offset` on, out of core dumps. `size` is not 0; both are multiples of the
    /// page size and within the file, which is sealed against shrinking.
    pub(super) fn new(file: BorrowedFd<'_>, offset: u64, size: u64) -> io::Result<Self> {
        let size = usize::try_from(size).map_err(|_| Errno::NOMEM)?;
        // SAFETY: a null hint lets the kernel choose free addresses: no memory of ours is replaced.
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                size,
                ProtFlags::READ,
                MapFlags::SHARED,
                file,
                offset,
            )
        }?;
        let start = NonNull::new(start.cast()).ok_or(Errno::FAULT)?;
        let mapping = Self { start, size };
        // SAFETY: the range is the mapping just made; the advice does not change its contents.
        unsafe { madvise(start.as_ptr().cast(), size, Advice::LinuxDontDump) }?;
        Ok(mapping)
    }

    /// The size in bytes.
    pub(super) const fn size(&self) -> u64 {
        self.size as u64
    }

    /// Fills `buf` from `from` on.
    ///
    /// No Rust reference to the mapping is made and the compiler sees no access that it might repeat, split or
    /// assume to be stable: what the guest writes meanwhile can change which bytes are copied, nothing else.
    ///
    /// # Panics
    ///
    /// Where the range is not within the mapping: a bug of the caller.
    pub(super) fn copy_out(&self, from: u64, buf: &mut [u8]) {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let inside = from
            .checked_add(buf.len())
            .is_some_and(|end| end <= self.size);
        assert!(inside, "read beyond a mapping of guest RAM");
        // SAFETY: `from` is within the mapping, as just checked.
        let source = unsafe { self.start.add(from) }.as_ptr();
        match <&mut [u8; 8]>::try_from(&mut *buf) {
            Ok(word) if from % 8 == 0 => {
                // SAFETY: in bounds as checked above and aligned; any bits are a `u64`. Volatile makes it one load.
                let value = unsafe { source.cast::<u64>().read_volatile() };
                *word = value.to_ne_bytes();
            }
            _ => {
                // SAFETY: the source is readable for `buf.len()` bytes as checked above, the destination is ours
                // alone, and they are distinct mappings. The ABI guarantees a clear direction flag.
                unsafe {
                    asm!(
                        "rep movsb",
                        inout("rcx") buf.len() => _,
                        inout("rsi") source => _,
                        inout("rdi") buf.as_mut_ptr() => _,
                        options(nostack, preserves_flags),
                    );
                }
            }
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing refers to it any more. A failure would leak it, no more.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.size) };
    }
}
