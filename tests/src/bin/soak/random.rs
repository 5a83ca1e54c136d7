//! Numbers that a seed determines: SplitMix64 (Steele, Lea, Flood 2014), enough to vary a test.

use std::time::Duration;

use anyhow::Result;
use aws_lc_rs::rand;

pub(crate) struct Random(u64);

/// A seed that nobody chose.
pub(crate) fn fresh_seed() -> Result<u64> {
    let mut bytes = [0; 4];
    rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("no random numbers"))?;
    Ok(u32::from_ne_bytes(bytes).into())
}

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of a list that is not empty.
    pub(crate) fn one_of<'l, T>(&mut self, list: &'l [T]) -> &'l T {
        let index = self.next() % list.len() as u64;
        &list[usize::try_from(index).unwrap_or(0)]
    }

    /// A time of at least `shortest`, less than `longest`.
    pub(crate) fn time(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let range = (longest - shortest).as_millis().max(1);
        shortest + Duration::from_millis(self.next() % u64::try_from(range).unwrap_or(u64::MAX))
    }
}
