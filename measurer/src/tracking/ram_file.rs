//! From guest-physical addresses to places in the RAM file, and back: above the PCI hole they differ.

use bartizan_attestation::host::RamRange;
use bartizan_guest_memory::Gpa;
use bartizan_write_tracking::FileRange;

use crate::extents::Extent;

/// Where the RAM file is in guest-physical memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RamFile(Vec<RamRange>);

impl RamFile {
    pub(crate) fn new(ranges: &[RamRange]) -> Self {
        Self(ranges.to_vec())
    }

    /// The places of an extent, which is whole pages; what of it is no RAM has none.
    pub(crate) fn ranges(&self, extent: Extent) -> impl Iterator<Item = FileRange> {
        self.0.iter().filter_map(move |ram| {
            let (from, size) = common((ram.address, ram.size), (extent.at.0, extent.size))?;
            FileRange::new(ram.file_offset + (from - ram.address), size)
        })
    }

    /// Where a range of the file is; what of it the guest does not see as RAM is nowhere.
    pub(crate) fn extents(&self, range: FileRange) -> impl Iterator<Item = Extent> {
        self.0.iter().filter_map(move |ram| {
            let (from, size) = common((ram.file_offset, ram.size), (range.offset(), range.size()))?;
            Some(Extent {
                at: Gpa(ram.address + (from - ram.file_offset)),
                size,
            })
        })
    }
}

/// What two ranges have in common, as its start and its size.
fn common((a, a_size): (u64, u64), (b, b_size): (u64, u64)) -> Option<(u64, u64)> {
    let from = a.max(b);
    let end = a.saturating_add(a_size).min(b.saturating_add(b_size));
    let size = end.checked_sub(from)?;
    (size > 0).then_some((from, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 4096;

    /// Two pages, a hole, and three more pages that follow in the file.
    fn file() -> RamFile {
        let range = |address, size, file_offset| RamRange {
            address,
            size,
            file_offset,
        };
        RamFile::new(&[range(0, 2 * PAGE, 0), range(1 << 32, 3 * PAGE, 2 * PAGE)])
    }

    const fn extent(at: u64, pages: u64) -> Extent {
        Extent {
            at: Gpa(at),
            size: pages * PAGE,
        }
    }

    fn range(first: u64, pages: u64) -> FileRange {
        FileRange::new(first * PAGE, pages * PAGE).unwrap()
    }

    #[test]
    fn an_extent_is_somewhere_in_the_file_and_back() {
        for (extent, range) in [
            (extent(PAGE, 1), range(1, 1)),
            (extent(1 << 32, 3), range(2, 3)),
            (extent((1 << 32) + PAGE, 1), range(3, 1)),
        ] {
            assert_eq!(file().ranges(extent).collect::<Vec<_>>(), [range]);
            assert_eq!(file().extents(range).collect::<Vec<_>>(), [extent]);
        }
    }

    #[test]
    fn what_adjoins_in_the_file_need_not_in_the_guest() {
        let found: Vec<_> = file().extents(range(1, 2)).collect();
        assert_eq!(found, [extent(PAGE, 1), extent(1 << 32, 1)]);
    }

    #[test]
    fn what_is_no_ram_is_nowhere() {
        assert_eq!(file().ranges(extent(2 * PAGE, 9)).count(), 0);
        assert_eq!(file().extents(range(5, 9)).count(), 0);
        let over: Vec<_> = file().ranges(extent(PAGE, 9)).collect();
        assert_eq!(over, [range(1, 1)]);
        assert_eq!(file().ranges(extent(u64::MAX - PAGE + 1, 1)).count(), 0);
    }
}
