//! What a device writes of its guest's RAM, noted for whoever measures that RAM while the guest runs.
//!
//! `vm-memory` tells a mapping's bitmap of each write through the mapping once that is done (volatile_memory.rs and io.rs): copies,
//! objects, atomic numbers, and what is read from files. What it does not tell of takes unsafe code, which this library forbids, or
//! `VolatileMemory::get_atomic_ref`, which clippy.toml forbids. So nothing can be written and forgotten.

use std::sync::Arc;

use bartizan_write_tracking::Log;
use vm_memory::GuestMemoryMmap;
use vm_memory::bitmap::{Bitmap, BitmapSlice, NewBitmap, WithBitmapSlice};

/// A guest's RAM, mapped; what is written through it is noted.
pub type Memory = GuestMemoryMmap<Written>;

/// Where writes to a region of RAM are noted; the default notes none.
#[derive(Clone, Debug, Default)]
pub struct Written {
    log: Option<Arc<Log>>,
    /// Where the region begins in the RAM file.
    offset: u64,
}

/// Where writes to a part of a region are noted.
#[derive(Clone, Copy, Debug)]
pub struct WrittenPart<'w> {
    log: Option<&'w Log>,
    offset: u64,
}

impl Written {
    /// Of a region that begins at that offset of the file that the log is of; without a log nothing is noted.
    #[must_use]
    pub const fn new(log: Option<Arc<Log>>, offset: u64) -> Self {
        Self { log, offset }
    }
}

impl<'w> WithBitmapSlice<'w> for Written {
    type S = WrittenPart<'w>;
}

impl WithBitmapSlice<'_> for WrittenPart<'_> {
    type S = Self;
}

impl BitmapSlice for WrittenPart<'_> {}

impl NewBitmap for Written {
    fn with_len(_len: usize) -> Self {
        Self::default()
    }
}

impl Bitmap for Written {
    #[inline]
    fn mark_dirty(&self, offset: usize, len: usize) {
        self.slice_at(0).mark_dirty(offset, len);
    }

    /// Notes are taken, and not looked at: nobody asks.
    fn dirty_at(&self, _offset: usize) -> bool {
        false
    }

    #[inline]
    fn slice_at(&self, offset: usize) -> WrittenPart<'_> {
        let whole = WrittenPart {
            log: self.log.as_deref(),
            offset: self.offset,
        };
        whole.slice_at(offset)
    }
}

impl Bitmap for WrittenPart<'_> {
    #[inline]
    fn mark_dirty(&self, offset: usize, len: usize) {
        if let Some(log) = self.log {
            log.note(self.slice_at(offset).offset, len as u64);
        }
    }

    fn dirty_at(&self, _offset: usize) -> bool {
        false
    }

    #[inline]
    fn slice_at(&self, offset: usize) -> Self {
        Self {
            log: self.log,
            // What is written lies in the file, whose size is no larger than an offset can be.
            offset: self.offset.wrapping_add(offset as u64),
        }
    }
}

#[cfg(test)]
mod tests;
