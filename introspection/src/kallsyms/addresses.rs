//! What the names stand for. There are three ways of writing it; `_text` tells which one a kernel uses, since
//! the image starts there.

use crate::little_endian::{u32_at, u64_at};

/// What is known so far of the table's layout.
pub(super) struct Places<'d> {
    pub(super) rodata: &'d [u8],
    /// The link address of `rodata`.
    pub(super) rodata_address: u64,
    /// Where the number of symbols stands.
    pub(super) num_syms: usize,
    /// Where the token index ends.
    pub(super) tokens_end: usize,
    /// The number of symbols.
    pub(super) count: usize,
}

/// How an offset `v` becomes an address.
#[derive(Clone, Copy)]
enum Encoding {
    /// CONFIG_KALLSYMS_ABSOLUTE_PERCPU: `v` itself if not negative (an offset into the per-CPU area), else
    /// base − 1 − v.
    AbsoluteOrRelative { base: u64 },
    /// Linux 6.15 on: base + v.
    Relative { base: u64 },
    /// Linux 7.0 on: v and the address of the offset itself.
    SelfRelative { first: u64 },
}

impl Places<'_> {
    /// The address of every symbol, by the encoding in which the symbol `text_index` is at `text`.
    pub(super) fn decode(&self, text_index: usize, text: u64) -> Option<Vec<u64>> {
        let (encoding, offsets) = self.candidates().into_iter().find(|(encoding, offsets)| {
            self.address(*encoding, *offsets, text_index) == Some(text)
        })?;
        (0..self.count)
            .map(|index| self.address(encoding, offsets, index))
            .collect()
    }

    /// Every way in which the offsets may be written, with where they would start.
    fn candidates(&self) -> Vec<(Encoding, usize)> {
        let size = 4 * self.count;
        let mut candidates = Vec::new();
        let mut with_base = |offsets: Option<usize>, base: Option<usize>| {
            let base = base.and_then(|base| u64_at(self.rodata, base));
            if let (Some(offsets), Some(base)) = (offsets, base) {
                candidates.push((Encoding::AbsoluteOrRelative { base }, offsets));
                candidates.push((Encoding::Relative { base }, offsets));
            }
        };
        let before = self.num_syms.checked_sub(8);
        let before_offsets = before.and_then(|base| base.checked_sub(size.next_multiple_of(8)));
        with_base(before_offsets, before);
        let behind = self.tokens_end.next_multiple_of(8);
        with_base(Some(behind), Some((behind + size).next_multiple_of(8)));
        for offsets in [behind, self.tokens_end.next_multiple_of(4)] {
            let first = self.rodata_address.wrapping_add(offsets as u64);
            candidates.push((Encoding::SelfRelative { first }, offsets));
        }
        candidates
    }

    fn address(&self, encoding: Encoding, offsets: usize, index: usize) -> Option<u64> {
        let value = u32_at(self.rodata, offsets.checked_add(4 * index)?)?;
        let signed = i64::from(value.cast_signed());
        Some(match encoding {
            Encoding::AbsoluteOrRelative { .. } if signed >= 0 => u64::from(value),
            Encoding::AbsoluteOrRelative { base } => {
                base.wrapping_sub(1).wrapping_add_signed(-signed)
            }
            Encoding::Relative { base } => base.wrapping_add(u64::from(value)),
            Encoding::SelfRelative { first } => first
                .wrapping_add(4 * index as u64)
                .wrapping_add_signed(signed),
        })
    }
}
