//! What was measured, round by round.

use std::time::{Duration, Instant};

use anyhow::Result;

/// Measurements of one thing, in seconds.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// One more.
    pub fn add(&mut self, duration: Duration) {
        self.0.push(duration.as_secs_f64());
    }

    /// All of others.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// The median; 0 where nothing was measured.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.quartile(2)
    }

    /// Half the interquartile range, relative to the median.
    #[must_use]
    pub fn spread(&self) -> f64 {
        (self.quartile(3) - self.quartile(1)) / 2.0 / self.median()
    }

    /// By the nearest rank; 0 where nothing was measured.
    fn quartile(&self, number: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len().saturating_sub(1) * number + 2) / 4;
        sorted.get(rank).copied().unwrap_or(0.0)
    }
}

/// How long `work` takes.
pub fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<Duration> {
    let begun = Instant::now();
    std::hint::black_box(work()?);
    Ok(begun.elapsed())
}

/// How long `work` takes on average over so many times.
pub fn averaged<T>(times: u32, mut work: impl FnMut() -> Result<T>) -> Result<Duration> {
    let all = timed(|| {
        for _ in 0..times {
            std::hint::black_box(work()?);
        }
        Ok(())
    })?;
    Ok(all / times)
}
