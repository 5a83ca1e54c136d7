//! So many at once, and one more after each pause.

/// How many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// One after another, by who has asked for none for long.
    pub(crate) at_once: u64,
    /// After how many seconds there is one more.
    pub(crate) pause_s: u64,
}

/// What is left of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    rate: Rate,
    left: u64,
    counted_at_s: u64,
}

impl Allowance {
    /// All of it.
    pub(crate) const fn full(rate: Rate, now_s: u64) -> Self {
        Self {
            rate,
            left: rate.at_once,
            counted_at_s: now_s,
        }
    }

    /// How many are left at that time.
    pub(crate) fn left(&mut self, now_s: u64) -> u64 {
        let more = now_s.saturating_sub(self.counted_at_s) / self.rate.pause_s;
        self.left = self.left.saturating_add(more).min(self.rate.at_once);
        self.counted_at_s += more * self.rate.pause_s;
        self.left
    }

    /// Takes one, if one is left.
    pub(crate) fn take(&mut self, now_s: u64) -> bool {
        let granted = self.left(now_s) > 0;
        self.left = self.left.saturating_sub(1);
        granted
    }

    /// Whether who has it is as one of whom nothing is known.
    pub(crate) fn is_full(&mut self, now_s: u64) -> bool {
        self.left(now_s) == self.rate.at_once
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        at_once: 3,
        pause_s: 10,
    };

    #[test]
    fn what_was_taken_comes_back_one_by_one() {
        let mut allowance = Allowance::full(RATE, 100);
        let taken: Vec<bool> = (0..4).map(|_| allowance.take(100)).collect();
        assert_eq!(taken, [true, true, true, false]);
        assert!(!allowance.take(109));
        assert!(allowance.take(115));
        // The half of a pause that was over then is not lost.
        assert!(allowance.take(120));
        assert_eq!(allowance.left(145), 2);
        assert!(!allowance.is_full(149));
        assert!(allowance.is_full(150));
        assert_eq!(allowance.left(u64::MAX), 3);
    }

    #[test]
    fn a_clock_that_is_set_back_gives_nothing() {
        let mut allowance = Allowance::full(RATE, 100);
        for _ in 0..3 {
            assert!(allowance.take(100));
        }
        assert!(!allowance.take(50));
        assert!(!allowance.take(105));
        assert!(allowance.take(110));
    }
}
