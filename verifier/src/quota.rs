//! How many verdicts there may be of one VM and of one host, so that no guest can fill the disk.
//!
//! A verdict costs one unit for each KiB that is kept of it for ever, at least one. Each VM, and each
//! host, has a bucket of units that fills at a steady rate (the generic cell rate algorithm, ITU-T
//! I.371 annex A): what is kept of a VM in a day is at most a bucket and a day's rate, in KiB. A VM
//! is one however often it boots.
//!
//! Buckets are in memory: a restart fills them. One that is full again is forgotten, so that there are
//! at most as many as there were units to spend.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use bartizan_attestation::identity::{CardId, GuestIdentity};

use crate::config::QuotaLimits;
use crate::problem::ProblemType;

#[cfg(test)]
mod tests;

/// Full buckets are sought once there are so many, and from then on whenever there are twice as many
/// as were left.
const FIRST_SWEEP: usize = 1024;

/// What was spent lately.
#[derive(Debug)]
pub struct VerdictQuota {
    per_guest: Rate,
    per_host: Rate,
    spent: Mutex<Spent>,
}

/// There are too many verdicts of a guest or a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QuotaError {
    /// Of this VM.
    #[error("there are too many verdicts on this guest; attest less often")]
    Guest {
        /// When there may be another.
        retry_after: Duration,
    },
    /// Of all of this host's.
    #[error("there are too many verdicts on the guests of this host; attest less often")]
    Host {
        /// When there may be another.
        retry_after: Duration,
    },
}

#[derive(Debug)]
struct Spent {
    guests: HashMap<(CardId, [u8; 16]), Instant>,
    hosts: HashMap<CardId, Instant>,
    sweep_at: usize,
}

/// A bucket's size and rate. A bucket itself is the time at which it is full.
#[derive(Clone, Copy, Debug)]
struct Rate {
    /// In which one unit comes back.
    unit: Duration,
    /// In which an empty bucket fills.
    whole: Duration,
}

impl VerdictQuota {
    /// Full buckets.
    #[must_use]
    pub fn new(limits: &QuotaLimits) -> Self {
        Self {
            per_guest: Rate::new(limits.per_guest_per_minute, limits.guest_burst),
            per_host: Rate::new(limits.per_host_per_minute, limits.host_burst),
            spent: Mutex::new(Spent {
                guests: HashMap::new(),
                hosts: HashMap::new(),
                sweep_at: FIRST_SWEEP,
            }),
        }
    }

    /// Whether there may be a verdict on any guest of a host now. Spends nothing.
    pub fn check_host(&self, card: CardId, now: Instant) -> Result<(), QuotaError> {
        let full_at = self.lock().hosts.get(&card).copied();
        let wait = self.per_host.wait(full_at, now);
        wait.map_or(Ok(()), |retry_after| Err(QuotaError::Host { retry_after }))
    }

    /// Whether there may be a verdict on a guest now. Spends nothing.
    pub fn check(&self, guest: &GuestIdentity, now: Instant) -> Result<(), QuotaError> {
        self.check_host(guest.card, now)?;
        let full_at = self.lock().guests.get(&(guest.card, guest.vm)).copied();
        let wait = self.per_guest.wait(full_at, now);
        wait.map_or(Ok(()), |retry_after| Err(QuotaError::Guest { retry_after }))
    }

    /// Spends one unit, if there is one.
    pub fn spend(&self, guest: &GuestIdentity, now: Instant) -> Result<(), QuotaError> {
        self.check(guest, now)?;
        self.spend_more(guest, 1, now);
        Ok(())
    }

    /// Spends units that were used already, whether or not there are so many: what is missing has to
    /// come back before the next.
    pub fn spend_more(&self, guest: &GuestIdentity, units: u32, now: Instant) {
        let mut spent = self.lock();
        spend(&mut spent.hosts, guest.card, self.per_host, units, now);
        let vm = (guest.card, guest.vm);
        spend(&mut spent.guests, vm, self.per_guest, units, now);
        if spent.guests.len() >= spent.sweep_at {
            spent.guests.retain(|_, full_at| *full_at > now);
            spent.hosts.retain(|_, full_at| *full_at > now);
            spent.sweep_at = FIRST_SWEEP.max(spent.guests.len() * 2);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn spend<K: Eq + Hash>(
    buckets: &mut HashMap<K, Instant>,
    key: K,
    rate: Rate,
    units: u32,
    now: Instant,
) {
    let full_at = buckets.entry(key).or_insert(now);
    *full_at = (*full_at).max(now) + rate.unit.saturating_mul(units);
}

impl Rate {
    fn new(per_minute: u32, burst: u32) -> Self {
        let unit = Duration::from_secs(60) / per_minute.max(1);
        Self {
            unit,
            whole: unit.saturating_mul(burst),
        }
    }

    /// How long until a bucket that is full at `full_at` has a unit; `None` if it has one.
    fn wait(self, full_at: Option<Instant>, now: Instant) -> Option<Duration> {
        let missing = full_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        (missing + self.unit)
            .checked_sub(self.whole)
            .filter(|wait| !wait.is_zero())
    }
}

impl ProblemType for QuotaError {
    fn kind(&self) -> (&'static str, StatusCode) {
        let kind = match self {
            Self::Guest { .. } => "guest-verdicts-exhausted",
            Self::Host { .. } => "host-verdicts-exhausted",
        };
        (kind, StatusCode::TOO_MANY_REQUESTS)
    }

    fn retry_after_s(&self) -> Option<u64> {
        let (Self::Guest { retry_after } | Self::Host { retry_after }) = self;
        Some(retry_after.as_secs() + 1)
    }
}
