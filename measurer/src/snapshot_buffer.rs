//! Memory for one snapshot of guest RAM.
#![expect(
    unsafe_code,
    reason = "page-wise control of memory: locking, core dumps, release"
)]

use std::ffi::c_void;
use std::ptr::{self, NonNull};

use rustix::io;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap_anonymous, munmap};

/// Private memory: allocated and present before the guest is paused, in no core dump, locked into RAM where
/// the process may, wiped before it is given back.
pub(crate) struct SnapshotBuffer {
    start: NonNull<u8>,
    size: usize,
}

impl SnapshotBuffer {
    /// Allocates `size` bytes (at least one), all zero, and makes them present.
    ///
    /// # Errors
    /// What mmap(2) or madvise(2) says, in particular that memory is short.
    pub(crate) fn allocate(size: usize) -> io::Result<Self> {
        // SAFETY: an anonymous private mapping at an address of the kernel's choice touches no memory of ours.
        let start = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                size,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }?;
        let start = NonNull::new(start.cast()).ok_or(io::Errno::FAULT)?;
        let buffer = Self { start, size };
        // SAFETY: the range is exactly the mapping that `buffer` owns; the advice does not change its contents.
        unsafe { madvise(buffer.address(), size, Advice::LinuxDontDump) }?;
        // SAFETY: as above; locking changes no contents either. Best effort: RLIMIT_MEMLOCK may be small.
        let locked = unsafe { mlock(buffer.address(), size) };
        if locked.is_err() {
            // SAFETY: as above.
            unsafe { madvise(buffer.address(), size, Advice::LinuxPopulateWrite) }?;
        }
        Ok(buffer)
    }

    /// The bytes.
    pub(crate) const fn bytes(&self) -> &[u8] {
        // SAFETY: `size` readable bytes that this value owns; initialised, because anonymous memory is zero.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.size) }
    }

    /// The bytes, to be filled.
    pub(crate) const fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; writable, and borrowed exclusively with `self`.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.size) }
    }

    const fn address(&self) -> *mut c_void {
        self.start.as_ptr().cast()
    }
}

impl Drop for SnapshotBuffer {
    fn drop(&mut self) {
        self.bytes_mut().fill(0);
        // Keeps the wiping, whose result nobody reads, from being optimised away.
        std::hint::black_box(self.bytes());
        // SAFETY: the mapping is this value's own and goes with it; no reference to it is left.
        // A failure would leave wiped memory behind: nothing to be done about it.
        let _ = unsafe { munmap(self.address(), self.size) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_zero_writable_and_of_the_size_asked_for() {
        let mut buffer = SnapshotBuffer::allocate(3 * 4096).unwrap();
        assert_eq!(buffer.bytes(), [0; 3 * 4096]);
        buffer.bytes_mut().fill(7);
        assert_eq!(buffer.bytes(), [7; 3 * 4096]);
    }

    #[test]
    fn too_much_is_an_error_not_an_abort() {
        assert!(SnapshotBuffer::allocate(1 << 46).is_err());
    }
}
