//! What a snapshot holds of the regions that it is of.

use std::ops::Range;

use bartizan_attestation::measurement::PAGE_SIZE;

use crate::snapshot_buffer::SnapshotBuffer;

/// The pages of all regions, in order, counted from 0.
pub(crate) enum Contents {
    /// Their bytes.
    Bytes(Kept),
    /// The digest of each, by the request's algorithm.
    PageDigests(Kept),
}

/// So many bytes of each page, in places.
pub(crate) struct Kept {
    memory: SnapshotBuffer,
    /// Bytes of one page.
    unit: usize,
    /// Ascending by their first page, without a gap.
    runs: Vec<Run>,
}

/// Pages that are kept one after another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    /// How many.
    pub(crate) pages: u64,
    /// Where the first of them is kept.
    pub(crate) slot: u64,
    /// Which it is.
    first: u64,
}

/// Runs, in order.
#[derive(Default)]
pub(crate) struct Runs(Vec<Run>);

impl Runs {
    /// All pages in their order.
    pub(crate) fn straight(pages: u64) -> Self {
        let mut runs = Self::default();
        runs.push(0, pages);
        runs
    }

    /// The next pages are those that are kept from `slot` on.
    pub(crate) fn push(&mut self, slot: u64, pages: u64) {
        match self.0.last_mut() {
            Some(last) if last.slot + last.pages == slot => last.pages += pages,
            last => {
                let first = last.map_or(0, |last| last.first + last.pages);
                self.0.push(Run { pages, slot, first });
            }
        }
    }
}

impl Kept {
    /// `unit` bytes of each page are in `memory`.
    pub(crate) fn new(memory: SnapshotBuffer, unit: usize, Runs(runs): Runs) -> Self {
        Self { memory, unit, runs }
    }

    /// What is kept of these pages, in order, as much at once as there is together.
    pub(crate) fn pieces(&self, pages: Range<u64>) -> impl Iterator<Item = &[u8]> {
        let from = self
            .runs
            .partition_point(|run| run.first + run.pages <= pages.start);
        let of_them = self.runs.get(from..).unwrap_or_default().iter();
        of_them
            .take_while(move |run| run.first < pages.end)
            .map(move |run| {
                let start = pages.start.max(run.first);
                let end = pages.end.min(run.first + run.pages);
                let at = |page: u64| {
                    let slot = run.slot + (page - run.first);
                    usize::try_from(slot).map_or(usize::MAX, |slot| slot.saturating_mul(self.unit))
                };
                // INVARIANT: every slot of a run is in memory.
                self.memory
                    .bytes()
                    .get(at(start)..at(end))
                    .unwrap_or_default()
            })
    }
}

impl Contents {
    /// A copy of all regions, one after another.
    pub(crate) fn copied(memory: SnapshotBuffer, bytes: u64) -> Self {
        let runs = Runs::straight(bytes / PAGE_SIZE);
        Self::Bytes(Kept::new(memory, page_size(), runs))
    }
}

/// The size of a page in bytes.
pub(crate) fn page_size() -> usize {
    // INVARIANT: 4096 fits.
    usize::try_from(PAGE_SIZE).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slots 0 to 9, a byte each, that hold their numbers.
    fn kept(runs: &[(u64, u64)]) -> Kept {
        let mut memory = SnapshotBuffer::allocate(10).unwrap();
        memory
            .bytes_mut()
            .copy_from_slice(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let mut in_order = Runs::default();
        for (slot, pages) in runs {
            in_order.push(*slot, *pages);
        }
        Kept::new(memory, 1, in_order)
    }

    #[test]
    fn pages_come_in_the_order_of_regions() {
        let kept = kept(&[(7, 3), (0, 2), (2, 2), (8, 1)]);
        let pieces = |pages| kept.pieces(pages).collect::<Vec<_>>();
        assert_eq!(pieces(0..8), [&[7, 8, 9][..], &[0, 1, 2, 3], &[8]]);
        assert_eq!(pieces(2..5), [&[9][..], &[0, 1]]);
        assert_eq!(pieces(4..4), Vec::<&[u8]>::new());
        assert_eq!(pieces(7..8), [[8]]);
    }
}
