//! How long a guest waits before its policy starts it again: the longer, the shorter its boots are.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use uuid::Uuid;

/// The first delay, which is doubled up to [`MOST`].
const FIRST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(60);
/// After a boot of so long the first delay is due again.
const STEADY: Duration = Duration::from_secs(60);

/// The delays of all guests that were started again.
///
/// Known attack: a guest that reboots in a loop has its disks hashed, its boots counted and the verifier asked without end.
#[derive(Debug, Default)]
pub(super) struct Backoff(BTreeMap<Uuid, Last>);

#[derive(Debug)]
struct Last {
    delay: Duration,
    /// When the guest ran that was started after it, if it did.
    ran: Option<Instant>,
}

impl Backoff {
    /// How long a VM that has ended `now` is to wait.
    pub(super) fn next(&mut self, vm: Uuid, now: Instant) -> Duration {
        let delay = match self.0.get(&vm) {
            Some(last) if !last.was_steady(now) => (last.delay * 2).min(MOST),
            Some(_) | None => FIRST,
        };
        self.0.insert(vm, Last { delay, ran: None });
        delay
    }

    /// It runs.
    pub(super) fn runs(&mut self, vm: Uuid, now: Instant) {
        if let Some(last) = self.0.get_mut(&vm) {
            last.ran = Some(now);
        }
    }

    /// Nobody wants to start it again.
    pub(super) fn forget(&mut self, vm: Uuid) {
        self.0.remove(&vm);
    }
}

impl Last {
    fn was_steady(&self, now: Instant) -> bool {
        let ran = self.ran.map(|ran| now.saturating_duration_since(ran));
        ran.is_some_and(|ran| ran >= STEADY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_boots_are_ever_rarer_and_a_long_one_is_forgiven() {
        let (mut backoff, vm) = (Backoff::default(), Uuid::from_u128(1));
        let mut now = Instant::now();
        let mut delays = Vec::new();
        for _ in 0..8 {
            let delay = backoff.next(vm, now);
            // Its disks are hashed for longer than a boot must last.
            now += delay + 2 * STEADY;
            backoff.runs(vm, now);
            now += STEADY - Duration::from_secs(1);
            delays.push(delay.as_secs());
        }
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.next(Uuid::from_u128(2), now), FIRST);
        // One that does not start is none that lasts.
        assert_eq!(backoff.next(vm, now), MOST);
        assert_eq!(backoff.next(vm, now + 9 * STEADY), MOST);
        backoff.runs(vm, now);
        assert_eq!(backoff.next(vm, now + STEADY), FIRST);
        assert_eq!(backoff.next(vm, now + STEADY), 2 * FIRST);
        backoff.forget(vm);
        assert_eq!(backoff.next(vm, now), FIRST);
    }
}
