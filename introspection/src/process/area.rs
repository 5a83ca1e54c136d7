//! One mapping of a process: `struct vm_area_struct` (`include/linux/mm_types.h`).

use super::ProcessError;
use super::layout::{AreaLayout, RECORD};
use super::maple::Entry;
use super::view::{KernelView, Record};

const PAGE: u64 = 4096;
/// End of the largest user address space: 5 page table levels.
const USER_END: u64 = 1 << 56;

/// A mapping as the kernel keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) flags: u64,
    pub(super) file_offset: u64,
    pub(super) file: u64,
    pub(super) operations: u64,
}

impl Area {
    /// Reads the mapping behind a tree entry and checks that it agrees with its place in the tree of `mm`.
    pub(super) fn read(
        view: &impl KernelView,
        layout: &AreaLayout,
        entry: Entry,
        mm: u64,
    ) -> Result<Self, ProcessError> {
        let inconsistent = |finding| ProcessError::Inconsistent {
            structure: "vm_area_struct",
            address: entry.pointer,
            finding,
        };
        let record = Record::<RECORD>::read(view, "vm_area_struct", entry.pointer, layout.size)?;
        let (start, end) = (record.u64(layout.start), record.u64(layout.end));
        if start != entry.first || end.checked_sub(1) != Some(entry.last) {
            return Err(inconsistent("its bounds differ from its place in the tree"));
        }
        if start % PAGE != 0 || end % PAGE != 0 || end > USER_END {
            return Err(inconsistent("its bounds are no user pages"));
        }
        if record.u64(layout.mm) != mm {
            return Err(inconsistent("it belongs to another address space"));
        }
        Ok(Self {
            start,
            end,
            flags: record.u64(layout.flags),
            file_offset: record
                .u64(layout.page_offset)
                .checked_mul(PAGE)
                .ok_or_else(|| inconsistent("its file offset overflows"))?,
            file: record.u64(layout.file),
            operations: record.u64(layout.operations),
        })
    }
}
