//! What a guest may spend on attestation: requests and pauses in any minute, requests at once.
//!
//! Kept twice: by the API, which a guest can flood, and by the supervisor, which outlives the API's process.
//! The clock is a parameter: an account is a pure state machine.

use std::time::{Duration, Instant};

use bartizan_attestation::launch::Budget;
use bartizan_attestation::measurement::Refusal;

/// Seconds that a minute's account is kept in.
const SLOTS: usize = 60;

/// The account of one guest.
#[derive(Debug)]
pub(crate) struct Account {
    allowed: Budget,
    start: Instant,
    /// The second, counted from `start`, that the newest slot is of.
    newest: u64,
    slots: [Slot; SLOTS],
}

#[derive(Clone, Copy, Default, Debug)]
struct Slot {
    requests: u64,
    pause_us: u64,
}

impl Account {
    /// A new account.
    #[must_use]
    pub(crate) fn new(allowed: Budget, now: Instant) -> Self {
        Self {
            allowed,
            start: now,
            newest: 0,
            slots: [Slot::default(); SLOTS],
        }
    }

    /// Takes one request, where `under_way` others are not answered yet; or says when to ask again.
    pub(crate) fn admit(&mut self, now: Instant, under_way: usize) -> Result<(), Refusal> {
        self.advance(now);
        if under_way >= self.allowed.concurrent as usize {
            return Err(Refusal::Busy {
                retry_after_ms: 100,
            });
        }
        if self.requests() >= u64::from(self.allowed.requests_per_minute) {
            return Err(self.busy(|slot| slot.requests > 0));
        }
        if self.pauses_are_spent() {
            return Err(self.busy(|slot| slot.pause_us > 0));
        }
        self.newest_slot(|slot| slot.requests += 1);
        Ok(())
    }

    /// Whether the guest may be paused at all: the pauses of the last minute are not spent yet. The last
    /// pause may exceed the budget by no more than one lease.
    pub(crate) fn may_pause(&mut self, now: Instant) -> bool {
        self.advance(now);
        !self.pauses_are_spent()
    }

    /// The guest stood still for so long.
    pub(crate) fn paused(&mut self, now: Instant, pause: Duration) {
        self.advance(now);
        let pause = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
        self.newest_slot(|slot| slot.pause_us = slot.pause_us.saturating_add(pause));
    }

    fn requests(&self) -> u64 {
        self.slots.iter().map(|slot| slot.requests).sum()
    }

    fn pauses_are_spent(&self) -> bool {
        let spent = self
            .slots
            .iter()
            .fold(0u64, |sum, slot| sum.saturating_add(slot.pause_us));
        spent >= self.allowed.pause_ms_per_minute.saturating_mul(1000)
    }

    /// Busy until the oldest slot that counts falls out of the minute.
    fn busy(&self, counts: impl Fn(&Slot) -> bool) -> Refusal {
        let slots = SLOTS as u64;
        let oldest = (self.newest + 1..=self.newest + slots)
            .position(|second| counts(&self.slot_of(second)))
            .unwrap_or(SLOTS);
        Refusal::Busy {
            retry_after_ms: (oldest as u64 + 1) * 1000,
        }
    }

    fn advance(&mut self, now: Instant) {
        let second = now.saturating_duration_since(self.start).as_secs();
        let passed = second.saturating_sub(self.newest).min(SLOTS as u64);
        self.newest = self.newest.max(second);
        for back in 0..passed {
            let index = index_of(self.newest - back);
            if let Some(slot) = self.slots.get_mut(index) {
                *slot = Slot::default();
            }
        }
    }

    fn slot_of(&self, second: u64) -> Slot {
        self.slots
            .get(index_of(second))
            .copied()
            .unwrap_or_default()
    }

    fn newest_slot(&mut self, change: impl FnOnce(&mut Slot)) {
        if let Some(slot) = self.slots.get_mut(index_of(self.newest)) {
            change(slot);
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a remainder of 60")]
const fn index_of(second: u64) -> usize {
    (second % SLOTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget {
        bytes_per_request: 1 << 20,
        concurrent: 2,
        requests_per_minute: 3,
        pause_ms_per_minute: 100,
    };
    const SECOND: Duration = Duration::from_secs(1);

    fn account() -> (Account, Instant) {
        let now = Instant::now();
        (Account::new(BUDGET, now), now)
    }

    #[test]
    fn requests_come_back_a_minute_later() {
        let (mut account, start) = account();
        for second in 0..3 {
            account.admit(start + second * SECOND, 0).unwrap();
        }
        let Err(Refusal::Busy { retry_after_ms }) = account.admit(start + 3 * SECOND, 0) else {
            panic!("admitted");
        };
        let retry = start + 3 * SECOND + Duration::from_millis(retry_after_ms);
        assert!(retry <= start + 61 * SECOND);
        account.admit(retry, 0).unwrap();
        assert!(account.admit(retry, 0).is_err());
    }

    #[test]
    fn concurrency_is_bounded() {
        let (mut account, start) = account();
        assert!(account.admit(start, 2).is_err());
        account.admit(start, 1).unwrap();
    }

    #[test]
    fn spent_pauses_refuse_requests_and_pauses_for_a_minute() {
        let (mut account, start) = account();
        account.paused(start, Duration::from_millis(99));
        assert!(account.may_pause(start));
        account.paused(start + SECOND, Duration::from_millis(1));
        assert!(!account.may_pause(start + SECOND));
        assert!(account.admit(start + 59 * SECOND, 0).is_err());
        account.admit(start + 60 * SECOND, 0).unwrap();
        assert!(account.may_pause(start + 10_000 * SECOND));
    }
}
