//! All pages that user mode can execute, by the page tables alone: what a processor would run, whatever an operating
//! system's lists say of it.

#[cfg(test)]
mod tests;

use std::ops::{ControlFlow, Range};

use super::entry::{ADDRESS, Entry};
use super::{Root, WalkError};
use crate::address::{Gpa, Gva};
use crate::physical::{NotRam, PhysicalMemory};

/// Entries of a table.
const ENTRIES: usize = 512;

/// The tables could not be read to their end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TablesError {
    /// A processor would fault there.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// There are too many, or some lead to themselves.
    #[error("there are more than {limit} page tables")]
    TooMany {
        /// How many are read at most.
        limit: usize,
    },
}

/// How many page tables may be read, by one search or by several together.
#[derive(PartialEq, Eq, Debug)]
pub struct TableBudget {
    limit: usize,
    read: usize,
}

impl TableBudget {
    /// Of `limit` tables, 4 KiB each.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { limit, read: 0 }
    }

    /// How many were read so far.
    #[must_use]
    pub const fn read(&self) -> usize {
        self.read
    }

    const fn spend(&mut self) -> Result<(), TablesError> {
        if self.read >= self.limit {
            return Err(TablesError::TooMany { limit: self.limit });
        }
        self.read += 1;
        Ok(())
    }
}

/// Shows `visit` each page of the lower half of the address space, which is the user's, that user mode can execute,
/// in ascending order, until it breaks. No more tables are read than `tables` has left: a table that leads to itself is
/// as good as many.
///
/// Execute-disable bits of the top table do not count: under page-table isolation Linux sets them all in the copy of
/// it that the kernel runs on, which `mm_struct.pgd` names (`__pti_set_user_pgtbl()`, `arch/x86/mm/pti.c`).
///
/// # Errors
///
/// [`TablesError`]; what was shown before is true all the same.
pub fn each_executable<B>(
    memory: &(impl PhysicalMemory + ?Sized),
    root: Root,
    tables: &mut TableBudget,
    visit: impl FnMut(Range<u64>) -> ControlFlow<B>,
) -> Result<ControlFlow<B>, TablesError> {
    let mut search = Search {
        memory,
        top: root.levels.count(),
        tables,
        visit,
    };
    search.table(Gpa(root.table.0 & ADDRESS), search.top, 0)
}

struct Search<'m, M: ?Sized, F> {
    memory: &'m M,
    top: u8,
    tables: &'m mut TableBudget,
    visit: F,
}

impl<M: PhysicalMemory + ?Sized, F, B> Search<'_, M, F>
where
    F: FnMut(Range<u64>) -> ControlFlow<B>,
{
    /// The table of `level` that translates the addresses from `start` on. At most five levels deep.
    fn table(&mut self, table: Gpa, level: u8, start: u64) -> Result<ControlFlow<B>, TablesError> {
        self.tables.spend()?;
        let mut bytes = [0; ENTRIES * 8];
        let at = Gva(start);
        self.memory
            .read(table, &mut bytes)
            .map_err(|NotRam { .. }| WalkError::TableNotRam { at, level, table })?;
        let is_top = level == self.top;
        let own = if is_top { ENTRIES / 2 } else { ENTRIES };
        let size = 1_u64 << (12 + 9 * (u32::from(level) - 1));
        let (entries, _) = bytes.as_chunks();
        for (entry, start) in entries.iter().take(own).zip((start..).step_by(page(size))) {
            let entry = Entry {
                raw: u64::from_le_bytes(*entry),
                level,
            };
            let rights = entry.rights();
            if !(entry.is_present() && rights.user && (rights.executable || is_top)) {
                continue;
            }
            if entry.has_reserved_bits() {
                return Err(WalkError::Reserved {
                    at: Gva(start),
                    level,
                    entry: entry.raw,
                }
                .into());
            }
            let flow = match entry.page_size() {
                Some(_) => (self.visit)(start..start + size),
                None => self.table(Gpa(entry.raw & ADDRESS), level - 1, start)?,
            };
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// A page's size as a step. INVARIANT: 2^48 at most, on 64-bit hosts.
fn page(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
