//! A pool of which nobody can take all: a holder's share may be no larger than what is left over for the others.
//!
//! One holder alone gets half of the pool; `n` of them that take turns get 1 / (n + 1) each. Whoever comes next gets half of what is
//! left, however greedy those before were, and nothing has to be taken from anybody (dynamic thresholds: Choudhury and Hahne,
//! IEEE/ACM Transactions on Networking 6(2), 1998).

use std::collections::HashMap;
use std::hash::Hash;

/// What each holder has of a pool.
#[derive(Debug)]
pub(super) struct Shares<H> {
    limit: usize,
    used: usize,
    by: HashMap<H, usize>,
}

/// One holder's part of a pool.
#[derive(Debug)]
pub(super) struct Share<'s> {
    limit: usize,
    used: &'s mut usize,
    has: &'s mut usize,
}

impl Share<'_> {
    /// As [`Shares::fits`].
    pub(super) const fn fits(&self, amount: usize) -> bool {
        fits(self.limit, *self.used, *self.has, amount)
    }

    /// As [`Shares::add`].
    pub(super) const fn add(&mut self, amount: usize) {
        *self.used += amount;
        *self.has += amount;
    }
}

/// Whether who has so much of what is used may have so much more.
pub(super) const fn fits(limit: usize, used: usize, has: usize, amount: usize) -> bool {
    match limit.saturating_sub(used).checked_sub(amount) {
        Some(left) => has + amount <= left,
        None => false,
    }
}

impl<H: Copy + Eq + Hash> Shares<H> {
    /// Of a pool of that size, all of it free.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            used: 0,
            by: HashMap::new(),
        }
    }

    /// One holder's part, to be looked up once for many.
    pub(super) fn share(&mut self, holder: H) -> Share<'_> {
        Share {
            limit: self.limit,
            used: &mut self.used,
            has: self.by.entry(holder).or_default(),
        }
    }

    /// Whether a holder may have so much more.
    pub(super) fn fits(&self, holder: H, amount: usize) -> bool {
        fits(self.limit, self.used, self.of(holder), amount)
    }

    /// Takes so much for a holder, if it may have it.
    pub(super) fn take(&mut self, holder: H, amount: usize) -> bool {
        let fits = self.fits(holder, amount);
        if fits {
            self.add(holder, amount);
        }
        fits
    }

    /// Counts so much as a holder's, whether it fits or not: in the place of what was given back just before.
    pub(super) fn add(&mut self, holder: H, amount: usize) {
        if amount == 0 {
            return;
        }
        self.used += amount;
        *self.by.entry(holder).or_default() += amount;
    }

    /// Gives so much of a holder's back.
    pub(super) fn give_back(&mut self, holder: H, amount: usize) {
        let Some(has) = self.by.get_mut(&holder) else {
            return;
        };
        let amount = amount.min(*has);
        *has -= amount;
        self.used -= amount;
        if *has == 0 {
            self.by.remove(&holder);
        }
    }

    /// All is free again.
    pub(super) fn clear(&mut self) {
        self.used = 0;
        self.by.clear();
    }

    /// What a holder has.
    pub(super) fn of(&self, holder: H) -> usize {
        self.by.get(&holder).copied().unwrap_or(0)
    }

    /// What all have together.
    #[cfg(test)]
    pub(super) const fn used(&self) -> usize {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Known attack: who comes first takes everything.
    #[test]
    fn whoever_comes_next_gets_half_of_what_is_left() {
        let mut shares = Shares::new(128);
        for (holder, gets) in (0..6_u8).zip([64, 32, 16, 8, 4, 2]) {
            while shares.take(holder, 1) {}
            assert_eq!(shares.of(holder), gets);
        }
        // What one gives back the others may have.
        shares.give_back(0, 64);
        assert!(shares.take(5, 20) && !shares.take(5, 30));
    }

    #[test]
    fn those_who_take_turns_get_the_same() {
        let mut shares = Shares::new(120);
        let mut takes = true;
        while takes {
            takes = (0..5_u8).fold(false, |any, holder| shares.take(holder, 1) | any);
        }
        assert!((0..5).all(|holder| shares.of(holder) == 20));
    }

    proptest! {
        #[test]
        fn nobody_gets_more_than_half_and_sums_are_true(steps in prop::collection::vec((0..4_u8, 0..40_usize, any::<bool>()), 0..200)) {
            let mut shares = Shares::new(100);
            let mut has = [0; 4];
            for (holder, amount, takes) in steps {
                let own = &mut has[usize::from(holder)];
                if takes {
                    if shares.take(holder, amount) {
                        *own += amount;
                    }
                } else {
                    shares.give_back(holder, amount);
                    *own -= amount.min(*own);
                }
                prop_assert!(has.iter().all(|has| *has <= 50));
                prop_assert_eq!(shares.used(), has.iter().sum::<usize>());
                prop_assert_eq!(shares.by.len(), has.iter().filter(|has| **has > 0).count());
            }
        }
    }
}
