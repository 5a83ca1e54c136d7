//! Buckets of units that fill at a steady rate: the generic cell rate algorithm (ITU-T I.371 annex A).
//!
//! They are in memory: a restart fills them. One that is full again is forgotten, so that there are
//! at most as many as there were units to spend.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bartizan_attestation::identity::CardId;

/// Full buckets are sought once there are so many, and from then on whenever there are twice as many
/// as were left.
pub(super) const FIRST_SWEEP: usize = 1024;

/// A bucket for each key. A bucket itself is the time at which it is full.
#[derive(Debug)]
pub(super) struct Buckets<K> {
    rate: Rate,
    full_at: HashMap<K, Instant>,
    sweep_at: usize,
}

/// A bucket's size and rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// In which one unit comes back.
    unit: Duration,
    /// In which an empty bucket fills.
    whole: Duration,
}

impl<K: Eq + Hash> Buckets<K> {
    /// Full ones.
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            rate,
            full_at: HashMap::new(),
            sweep_at: FIRST_SWEEP,
        }
    }

    /// How long until there is a unit; `None` if there is one.
    pub(super) fn wait(&self, key: &K, now: Instant) -> Option<Duration> {
        self.rate.wait(self.full_at.get(key).copied(), now)
    }

    /// Spends units, whether or not there are so many: what is missing has to come back before the next.
    pub(super) fn spend(&mut self, key: K, units: u32, now: Instant) {
        let full_at = self.full_at.entry(key).or_insert(now);
        *full_at = (*full_at).max(now) + self.rate.unit.saturating_mul(units);
        if self.full_at.len() >= self.sweep_at {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.sweep_at = FIRST_SWEEP.max(self.full_at.len() * 2);
        }
    }

    /// How many are not known to be full.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.full_at.len()
    }
}

/// A bucket for each host, or each key or network of it, of a thing that takes one unit.
#[derive(Debug)]
pub(super) struct OfHosts<K = CardId>(Mutex<Buckets<K>>);

impl<K: Eq + Hash> OfHosts<K> {
    /// Full ones of `burst` units, into which one comes back in each `unit` of time.
    pub(super) fn new(unit: Duration, burst: u32) -> Self {
        Self(Mutex::new(Buckets::new(Rate::new(unit, burst))))
    }

    /// Spends a unit of a host; how long until there is one, if there is none.
    pub(super) fn spend(&self, host: K, now: Instant) -> Result<(), Duration> {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match spent.wait(&host, now) {
            Some(retry_after) => Err(retry_after),
            None => {
                spent.spend(host, 1, now);
                Ok(())
            }
        }
    }
}

impl Rate {
    /// Of buckets of `burst` units, into which one comes back in each `unit` of time.
    pub(super) fn new(unit: Duration, burst: u32) -> Self {
        Self {
            unit,
            whole: unit.saturating_mul(burst),
        }
    }

    fn wait(self, full_at: Option<Instant>, now: Instant) -> Option<Duration> {
        let missing = full_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        (missing + self.unit)
            .checked_sub(self.whole)
            .filter(|wait| !wait.is_zero())
    }
}
