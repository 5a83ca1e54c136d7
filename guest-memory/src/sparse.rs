//! Guest RAM for tests: pages that exist once something was written to them, and a count of the reads.

use std::cell::Cell;
use std::collections::BTreeMap;

use crate::address::{Gpa, PAGE_SIZE};
use crate::physical::{NotRam, PhysicalMemory, RamSpan};

#[derive(Default, Debug)]
pub(crate) struct Sparse {
    pages: BTreeMap<u64, [u8; 4096]>,
    pub(crate) reads: Cell<usize>,
}

impl Sparse {
    pub(crate) fn write(&mut self, at: Gpa, bytes: &[u8]) {
        for (address, &byte) in (at.0..).zip(bytes) {
            let at = Gpa(address);
            let page = self.pages.entry(at.page().0).or_insert([0; 4096]);
            page[usize::try_from(at.page_offset()).unwrap()] = byte;
        }
    }

    /// Adds an entry to a page table.
    pub(crate) fn entry(&mut self, table: u64, index: u64, entry: u64) {
        self.write(Gpa(table + index * 8), &entry.to_le_bytes());
    }
}

impl PhysicalMemory for Sparse {
    fn read(&self, at: Gpa, buf: &mut [u8]) -> Result<(), NotRam> {
        self.reads.set(self.reads.get() + 1);
        for (offset, byte) in (0..).zip(buf) {
            let at = at.checked_add(offset).ok_or(NotRam { at })?;
            let page = self.pages.get(&at.page().0).ok_or(NotRam { at })?;
            *byte = page[usize::try_from(at.page_offset()).unwrap()];
        }
        Ok(())
    }

    fn spans(&self) -> Vec<RamSpan> {
        let span = |&start| RamSpan {
            start: Gpa(start),
            size: PAGE_SIZE,
        };
        self.pages.keys().map(span).collect()
    }
}
