//! One entry of a paging structure: Intel SDM volume 3, tables "Format of a … Entry".

use super::PageSize;
use crate::address::Gva;

/// Bits 12-51: the address, for the largest physical address width there is.
pub(super) const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;

/// Which entry of its table of `level` translates `at`.
pub(super) const fn index(at: Gva, level: u8) -> u64 {
    (at.0 >> (12 + 9 * (level as u32 - 1))) & 0x1ff
}

/// An entry and the level that it stands on: 1 maps pages, 5 is the top of 5-level paging.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) raw: u64,
    pub(super) level: u8,
}

impl Entry {
    pub(super) const fn is_present(self) -> bool {
        self.raw & PRESENT != 0
    }

    /// The page that the entry maps, or `None` where it names a table.
    pub(super) const fn page_size(self) -> Option<PageSize> {
        match self.level {
            1 => Some(PageSize::Kib4),
            2 if self.raw & LARGE != 0 => Some(PageSize::Mib2),
            3 if self.raw & LARGE != 0 => Some(PageSize::Gib1),
            _ => None,
        }
    }

    /// Whether a bit is set that must be 0 on this level. Bits of the address above the processor's width
    /// are reserved too; that width is not known here, and such an address is not RAM in any case.
    pub(super) const fn has_reserved_bits(self) -> bool {
        match self.page_size() {
            // Bit 12 of a large page is its PAT bit; those from 13 up to its size must be 0.
            Some(size) => self.raw & ADDRESS & (size.bytes() - 1) & !0x1fff != 0,
            None => self.level >= 4 && self.raw & LARGE != 0,
        }
    }

    pub(super) const fn rights(self) -> Rights {
        Rights {
            writable: self.raw & WRITABLE != 0,
            user: self.raw & USER != 0,
            executable: self.raw & NO_EXECUTE == 0,
        }
    }
}

/// Access rights: a walk has those that all its entries grant.
#[derive(Clone, Copy)]
pub(super) struct Rights {
    pub(super) writable: bool,
    pub(super) user: bool,
    pub(super) executable: bool,
}

impl Rights {
    pub(super) const ALL: Self = Self {
        writable: true,
        user: true,
        executable: true,
    };

    pub(super) const fn and(self, other: Self) -> Self {
        Self {
            writable: self.writable && other.writable,
            user: self.user && other.user,
            executable: self.executable && other.executable,
        }
    }
}
