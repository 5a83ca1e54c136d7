//! How many refusals are written down: whoever may connect can have orders refused as often as they like, and must not fill the disk.
//!
//! Each operator has an allowance, and all whose signature is nobody's share one. What is beyond is counted, and the number written down
//! once there is an allowance again.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::allowance::{Allowance, Rate};

/// After how long there is one more.
pub(super) const PAUSE: Duration = Duration::from_secs(600);
/// Refusals that are written down.
const RATE: Rate = Rate {
    at_once: 32,
    pause_s: PAUSE.as_secs(),
};
/// Operators with an allowance of their own; the names are the fleet's to give. The rest shares nobody's.
const MOST: usize = 1024;

/// Whose order it was: an operator's, or nobody's.
type Who = Option<String>;

/// What is left.
#[derive(Debug, Default)]
pub(super) struct Refusals(BTreeMap<Who, Counted>);

#[derive(Clone, Copy, Debug)]
struct Counted {
    allowance: Allowance,
    beyond: u64,
}

impl Refusals {
    /// Whether to write one more down; if not, it is counted.
    pub(super) fn take(&mut self, operator: Option<&str>, now_s: u64) -> bool {
        let known = |refusals: &Self, who: &Who| refusals.0.contains_key(who);
        let mut who = operator.map(ToOwned::to_owned);
        if !known(self, &who) && self.0.len() >= MOST {
            who = None;
        }
        let counted = self.0.entry(who).or_insert(Counted {
            allowance: Allowance::full(RATE, now_s),
            beyond: 0,
        });
        let granted = counted.allowance.take(now_s);
        if !granted {
            counted.beyond = counted.beyond.saturating_add(1);
        }
        granted
    }

    /// Those of whom more were refused, with their number, where there is an allowance to write that down.
    pub(super) fn summaries(&mut self, now_s: u64) -> Vec<(Who, u64)> {
        let mut due = Vec::new();
        for (who, counted) in &mut self.0 {
            if counted.beyond > 0 && counted.allowance.take(now_s) {
                due.push((who.clone(), std::mem::take(&mut counted.beyond)));
            }
        }
        self.0
            .retain(|_, counted| !counted.allowance.is_full(now_s));
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    #[test]
    fn few_are_written_down_and_the_rest_is_counted() {
        let mut refusals = Refusals::default();
        let written = (0..100).filter(|_| refusals.take(None, NOW)).count() as u64;
        assert_eq!(written, RATE.at_once);
        assert_eq!(refusals.summaries(NOW), []);
        // Another's allowance is untouched.
        assert!(refusals.take(Some("ann"), NOW));
        let later = NOW + PAUSE.as_secs();
        assert_eq!(refusals.summaries(later), [(None, 100 - RATE.at_once)]);
        assert!(!refusals.take(None, later), "the summary took it");
        assert!(refusals.take(None, later + PAUSE.as_secs()));
    }

    #[test]
    fn whoever_is_quiet_for_long_is_forgotten() {
        let mut refusals = Refusals::default();
        refusals.take(Some("ann"), NOW);
        refusals.summaries(NOW + PAUSE.as_secs());
        assert!(refusals.0.is_empty());
    }

    #[test]
    fn few_are_known_however_many_come() {
        let mut refusals = Refusals::default();
        for number in 0..2 * MOST {
            refusals.take(Some(&number.to_string()), NOW);
        }
        assert!(refusals.0.len() <= MOST + 1);
    }
}
