//! How many verdicts there may be of one VM and of one host, so that no guest can fill the disk, and how often a
//! host may renew its certificate, hand its boot in and report in.
//!
//! A verdict costs one unit for each KiB that is kept of it for ever, at least one. Each VM, and each
//! host, has a bucket of units that fills at a steady rate: what is kept of a VM in a day is at most a
//! bucket and a day's rate, in KiB. A VM is one however often it boots.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use bartizan_attestation::identity::{CardId, GuestIdentity};

use crate::config::QuotaLimits;
use crate::problem::ProblemType;

mod boots;
mod buckets;
mod counters;
mod renewals;
#[cfg(test)]
mod tests;

pub use boots::{BootQuota, BootQuotaError};
pub use counters::{CounterQuota, CounterQuotaError};
pub use renewals::{RenewalQuota, RenewalQuotaError};

use buckets::{Buckets, Rate};

/// What was spent lately.
#[derive(Debug)]
pub struct VerdictQuota(Mutex<Spent>);

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
    guests: Buckets<(CardId, [u8; 16])>,
    hosts: Buckets<CardId>,
}

impl VerdictQuota {
    /// Full buckets.
    #[must_use]
    pub fn new(limits: &QuotaLimits) -> Self {
        Self(Mutex::new(Spent {
            guests: Buckets::new(a_minute(limits.per_guest_per_minute, limits.guest_burst)),
            hosts: Buckets::new(a_minute(limits.per_host_per_minute, limits.host_burst)),
        }))
    }

    /// Whether there may be a verdict on any guest of a host now. Spends nothing.
    pub fn check_host(&self, card: CardId, now: Instant) -> Result<(), QuotaError> {
        self.lock().check_host(card, now)
    }

    /// Whether there may be a verdict on a guest now. Spends nothing.
    pub fn check(&self, guest: &GuestIdentity, now: Instant) -> Result<(), QuotaError> {
        self.lock().check(guest, now)
    }

    /// Spends one unit, if there is one.
    pub fn spend(&self, guest: &GuestIdentity, now: Instant) -> Result<(), QuotaError> {
        let mut spent = self.lock();
        spent.check(guest, now)?;
        spent.spend(guest, 1, now);
        Ok(())
    }

    /// Spends units that were used already, whether or not there are so many: what is missing has to
    /// come back before the next.
    pub fn spend_more(&self, guest: &GuestIdentity, units: u32, now: Instant) {
        self.lock().spend(guest, units, now);
    }

    fn lock(&self) -> MutexGuard<'_, Spent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spent {
    fn check_host(&self, card: CardId, now: Instant) -> Result<(), QuotaError> {
        let wait = self.hosts.wait(&card, now);
        wait.map_or(Ok(()), |retry_after| Err(QuotaError::Host { retry_after }))
    }

    fn check(&self, guest: &GuestIdentity, now: Instant) -> Result<(), QuotaError> {
        self.check_host(guest.card, now)?;
        let wait = self.guests.wait(&(guest.card, guest.vm), now);
        wait.map_or(Ok(()), |retry_after| Err(QuotaError::Guest { retry_after }))
    }

    fn spend(&mut self, guest: &GuestIdentity, units: u32, now: Instant) {
        self.hosts.spend(guest.card, units, now);
        self.guests.spend((guest.card, guest.vm), units, now);
    }
}

fn a_minute(units: u32, burst: u32) -> Rate {
    Rate::new(Duration::from_secs(60) / units.max(1), burst)
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
