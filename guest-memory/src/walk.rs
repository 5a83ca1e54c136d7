//! Page walks of x86-64: Intel SDM volume 3, chapter "Paging", sections on 4-level and 5-level paging.
//!
//! The tables are the guest's and may change during a walk: the result is what the processor could have
//! seen. A walk reads one entry a level, so that it ends after five reads at most, loops or not.

mod entry;
mod executable;
#[cfg(test)]
mod tests;

use crate::address::{Gpa, Gva};
use crate::physical::{NotRam, PhysicalMemory};
use entry::Entry;

pub use executable::{TableBudget, TablesError, each_executable};

/// How many levels of tables there are: bit 12 of CR4 (LA57).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Levels {
    /// 48-bit virtual addresses.
    Four,
    /// 57-bit virtual addresses.
    Five,
}

impl Levels {
    /// The number, 4 or 5.
    #[must_use]
    pub const fn count(self) -> u8 {
        match self {
            Self::Four => 4,
            Self::Five => 5,
        }
    }

    /// Whether all bits above the translated ones equal the highest of these.
    #[must_use]
    pub const fn is_canonical(self, at: Gva) -> bool {
        let unused = 64 - (12 + 9 * self.count() as u32);
        ((at.0 << unused).cast_signed() >> unused).cast_unsigned() == at.0
    }
}

/// Where a walk starts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Root {
    /// The top table, aligned to 4 KiB.
    pub table: Gpa,
    /// How deep the tables are.
    pub levels: Levels,
}

/// The size of the page that a walk ended at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PageSize {
    /// 4 KiB.
    Kib4,
    /// 2 MiB.
    Mib2,
    /// 1 GiB.
    Gib1,
}

impl PageSize {
    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Kib4 => 1 << 12,
            Self::Mib2 => 1 << 21,
            Self::Gib1 => 1 << 30,
        }
    }
}

/// What a virtual address stands for. The access rights are those of all levels together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Translation {
    /// The physical address, offset into the page included. It need not be RAM.
    pub gpa: Gpa,
    /// The size of the page around it.
    pub page_size: PageSize,
    /// Whether it may be written.
    pub writable: bool,
    /// Whether user mode may access it.
    pub user: bool,
    /// Whether it may be executed (EFER.NXE is taken to be set, as Linux always does).
    pub executable: bool,
}

impl Translation {
    /// How many bytes from `gpa` on are in the same page.
    #[must_use]
    pub const fn bytes_left(&self) -> u64 {
        self.page_size.bytes() - (self.gpa.0 & (self.page_size.bytes() - 1))
    }
}

/// Why a virtual address stands for nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WalkError {
    /// The address is none of this paging mode.
    #[error("virtual address {at} is not canonical")]
    NotCanonical {
        /// The address asked for.
        at: Gva,
    },
    /// An entry's present bit is clear. The processor ignores the rest of it; an operating system keeps there
    /// where the page went (swap, migration), or a page of no access (Linux: PROT_NONE).
    #[error("virtual address {at} is not present: the entry of level {level} is {entry:#x}")]
    NotPresent {
        /// The address asked for.
        at: Gva,
        /// 1 is the last level, 5 the first of 5-level paging.
        level: u8,
        /// The entry; 0 where nothing is mapped at all.
        entry: u64,
    },
    /// A present entry has a reserved bit set.
    #[error("virtual address {at}: the entry {entry:#x} of level {level} has a reserved bit set")]
    Reserved {
        /// The address asked for.
        at: Gva,
        /// As in [`WalkError::NotPresent`].
        level: u8,
        /// The entry.
        entry: u64,
    },
    /// A table is outside RAM.
    #[error("virtual address {at}: its table of level {level} is at {table}, which is not RAM")]
    TableNotRam {
        /// The address asked for.
        at: Gva,
        /// As in [`WalkError::NotPresent`].
        level: u8,
        /// Where the table should be.
        table: Gpa,
    },
}

/// Translates `at` by the tables from `root` on.
///
/// # Errors
///
/// [`WalkError`], as the processor would fault.
pub fn translate(
    memory: &(impl PhysicalMemory + ?Sized),
    root: Root,
    at: Gva,
) -> Result<Translation, WalkError> {
    if !root.levels.is_canonical(at) {
        return Err(WalkError::NotCanonical { at });
    }
    let mut table = Gpa(root.table.0 & entry::ADDRESS);
    let mut rights = entry::Rights::ALL;
    let mut level = root.levels.count();
    loop {
        let slot = Gpa(table.0 | (entry::index(at, level) * 8));
        let raw = memory
            .read_u64(slot)
            .map_err(|NotRam { .. }| WalkError::TableNotRam { at, level, table })?;
        let entry = Entry { raw, level };
        if !entry.is_present() {
            return Err(WalkError::NotPresent {
                at,
                level,
                entry: raw,
            });
        }
        if entry.has_reserved_bits() {
            return Err(WalkError::Reserved {
                at,
                level,
                entry: raw,
            });
        }
        rights = rights.and(entry.rights());
        if let Some(page_size) = entry.page_size() {
            let inside = page_size.bytes() - 1;
            return Ok(Translation {
                gpa: Gpa((raw & entry::ADDRESS & !inside) | (at.0 & inside)),
                page_size,
                writable: rights.writable,
                user: rights.user,
                executable: rights.executable,
            });
        }
        table = Gpa(raw & entry::ADDRESS);
        level -= 1;
    }
}
