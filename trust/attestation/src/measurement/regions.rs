//! Rules on lists of regions.

use super::{PAGE_SIZE, Refusal, Region};

impl Region {
    /// The first address after it. `None` where it would wrap around the address space.
    #[must_use]
    pub const fn end(&self) -> Option<u64> {
        self.address.checked_add(self.size)
    }

    /// How many pages it has, if it is whole pages.
    #[must_use]
    pub const fn pages(&self) -> u64 {
        self.size / PAGE_SIZE
    }

    /// Refuses an empty, unaligned or wrapping region; answers its end.
    pub(super) const fn check(&self) -> Result<u64, Refusal> {
        let Self { address, size } = *self;
        if size == 0 {
            return Err(Refusal::EmptyRegion { address });
        }
        if !address.is_multiple_of(PAGE_SIZE) || !size.is_multiple_of(PAGE_SIZE) {
            return Err(Refusal::UnalignedRegion { address, size });
        }
        match self.end() {
            Some(end) => Ok(end),
            None => Err(Refusal::WrappingRegion { address, size }),
        }
    }
}

/// Refuses a list with a region that is not right by itself or shares a page with another; answers
/// the total size in bytes.
pub(super) fn check_all(regions: &[Region]) -> Result<u64, Refusal> {
    for region in regions {
        region.check()?;
    }
    let mut ascending = regions.to_vec();
    ascending.sort_unstable();
    for (lower, upper) in ascending.iter().zip(ascending.iter().skip(1)) {
        if lower.end().is_none_or(|end| end > upper.address) {
            let (first, second) = (lower.address, upper.address);
            return Err(Refusal::OverlappingRegions { first, second });
        }
    }
    // INVARIANT: they do not overlap and none wraps, so that the sum is below 2^64.
    Ok(regions
        .iter()
        .map(|region| region.size)
        .fold(0, u64::saturating_add))
}
