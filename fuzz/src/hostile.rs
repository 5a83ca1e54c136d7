//! A guest's memory, made of the input. It repeats every 64 KiB, so that nearly every pointer leads somewhere.

use std::cell::Cell;

use bartizan_guest_memory::walk::{Levels, Root};
use bartizan_guest_memory::{Gpa, Gva, NotRam, PhysicalMemory, RamSpan};
use bartizan_introspection::process::KernelView;

use crate::small_kernel;

/// After so many bytes the memory repeats.
pub const PERIOD: u64 = 1 << 16;

/// Physical and kernel-virtual memory that counts how often it is read.
pub struct Memory<'i> {
    bytes: &'i [u8],
    reads: Cell<u64>,
}

impl<'i> Memory<'i> {
    /// Of these bytes; what is left of the 64 KiB is absent.
    #[must_use]
    pub const fn new(bytes: &'i [u8]) -> Self {
        Self {
            bytes,
            reads: Cell::new(0),
        }
    }

    /// How often it was read since this was asked last.
    pub fn take_reads(&self) -> u64 {
        self.reads.take()
    }

    /// The byte at an address, uncounted.
    #[must_use]
    pub fn byte(&self, at: u64) -> Option<u8> {
        self.piece(at, 1).map(|piece| piece[0])
    }

    fn piece(&self, at: u64, length: usize) -> Option<&'i [u8]> {
        let start = usize::try_from(at % PERIOD).ok()?;
        self.bytes.get(start..)?.get(..length)
    }

    fn copy(&self, at: u64, into: &mut [u8]) -> Option<()> {
        self.reads.set(self.reads.get() + 1);
        into.copy_from_slice(self.piece(at, into.len())?);
        Some(())
    }
}

impl PhysicalMemory for Memory<'_> {
    fn read(&self, at: Gpa, buf: &mut [u8]) -> Result<(), NotRam> {
        self.copy(at.0, buf).ok_or(NotRam { at })
    }

    fn spans(&self) -> Vec<RamSpan> {
        let start = Gpa(0);
        let size = self.bytes.len() as u64;
        Vec::from_iter((size > 0).then_some(RamSpan { start, size }))
    }
}

impl KernelView for Memory<'_> {
    fn read(&self, at: Gva, into: &mut [u8]) -> Option<()> {
        self.copy(at.0, into)
    }

    fn symbol(&self, name: &str) -> Option<Gva> {
        small_kernel::PROFILE.symbol(name).map(Gva)
    }

    fn user_root(&self, pgd: Gva) -> Option<Root> {
        Some(Root {
            table: Gpa(pgd.0 % PERIOD).page(),
            levels: Levels::Four,
        })
    }
}
