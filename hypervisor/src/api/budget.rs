//! What attestation a guest may cost its host: requests at once, requests a minute, pause a minute.
//!
//! The clock is a parameter: the budget is a pure state machine.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bartizan_attestation::launch;
use bartizan_attestation::measurement::Refusal;

const WINDOW: Duration = Duration::from_secs(60);
/// What a guest is told when too many of its requests are under way: about the time one takes.
const RETRY_CONCURRENT: Duration = Duration::from_millis(200);

/// One guest's budget.
#[derive(Debug)]
pub struct Budget {
    limits: launch::Budget,
    spent: Mutex<Ledger>,
}

#[derive(Debug, Default)]
struct Ledger {
    under_way: u32,
    /// When each request of the last minute was admitted.
    admitted: VecDeque<Instant>,
    /// When and for how long the guest stood still for a snapshot in the last minute.
    pauses: VecDeque<(Instant, Duration)>,
}

/// One admitted request; its place is free again when this is dropped.
#[derive(Debug)]
pub struct Spent(Arc<Budget>);

impl Budget {
    /// A fresh budget with the launch record's limits.
    pub fn new(limits: launch::Budget) -> Arc<Self> {
        Arc::new(Self {
            limits,
            spent: Mutex::default(),
        })
    }

    /// Admits a request, or says when to come again.
    pub fn admit(self: &Arc<Self>, now: Instant) -> Result<Spent, Refusal> {
        let mut ledger = self.ledger();
        ledger.forget_before(now);
        if ledger.under_way >= self.limits.concurrent {
            return Err(busy(RETRY_CONCURRENT));
        }
        if ledger.admitted.len() >= self.limits.requests_per_minute as usize {
            return Err(busy(until_free(ledger.admitted.front().copied(), now)));
        }
        let paused: Duration = ledger.pauses.iter().map(|(_, length)| *length).sum();
        if paused >= Duration::from_millis(self.limits.pause_ms_per_minute) {
            return Err(busy(until_free(
                ledger.pauses.front().map(|(at, _)| *at),
                now,
            )));
        }
        ledger.under_way += 1;
        ledger.admitted.push_back(now);
        Ok(Spent(Arc::clone(self)))
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spent {
    /// Books the pause that the request cost.
    pub fn paused(&self, now: Instant, length: Duration) {
        self.0.ledger().pauses.push_back((now, length));
    }
}

impl Drop for Spent {
    fn drop(&mut self) {
        self.0.ledger().under_way -= 1;
    }
}

impl Ledger {
    fn forget_before(&mut self, now: Instant) {
        let old = |at: Instant| now.saturating_duration_since(at) >= WINDOW;
        while self.admitted.front().is_some_and(|at| old(*at)) {
            self.admitted.pop_front();
        }
        while self.pauses.front().is_some_and(|(at, _)| old(*at)) {
            self.pauses.pop_front();
        }
    }
}

fn until_free(oldest: Option<Instant>, now: Instant) -> Duration {
    oldest.map_or(WINDOW, |at| {
        WINDOW.saturating_sub(now.saturating_duration_since(at))
    })
}

fn busy(wait: Duration) -> Refusal {
    Refusal::Busy {
        retry_after_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1),
    }
}

#[cfg(test)]
mod tests;
