//! How often a host may hand the log of its boot in: each is a walk through releases, a TPM's signature to verify, and, where it says
//! something new, a durable write.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use bartizan_attestation::identity::CardId;

use super::buckets::OfHosts;
use crate::problem::ProblemType;

/// Boots of a host at once. With a TPM it needs one for each TLS certificate: two an hour by themselves, and one for each that an
/// administrator has made.
const BURST: u32 = 256;
/// In which a host may hand one more in.
const UNIT: Duration = Duration::from_secs(10);

/// What hosts handed in lately.
#[derive(Debug)]
pub struct BootQuota(OfHosts);

/// A host hands its boot in too often.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("this host has handed the log of its boot in too often; try again later")]
pub struct BootQuotaError {
    /// When it may again.
    retry_after: Duration,
}

impl Default for BootQuota {
    fn default() -> Self {
        Self(OfHosts::new(UNIT, BURST))
    }
}

impl BootQuota {
    /// Spends one handing-in of a host, if there is one.
    pub fn spend(&self, card: CardId, now: Instant) -> Result<(), BootQuotaError> {
        let spent = self.0.spend(card, now);
        spent.map_err(|retry_after| BootQuotaError { retry_after })
    }
}

impl ProblemType for BootQuotaError {
    fn kind(&self) -> (&'static str, StatusCode) {
        ("host-boots-exhausted", StatusCode::TOO_MANY_REQUESTS)
    }

    fn retry_after_s(&self) -> Option<u64> {
        Some(self.retry_after.as_secs() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_hands_in_without_end_waits_and_no_other_does() {
        let (quota, now) = (BootQuota::default(), Instant::now());
        let (host, other) = (CardId([1; 32]), CardId([2; 32]));
        for _ in 0..BURST {
            quota.spend(host, now).unwrap();
        }
        let refused = quota.spend(host, now).unwrap_err();
        assert_eq!(refused.retry_after_s(), Some(11));
        quota.spend(other, now).unwrap();
        quota.spend(host, now + UNIT).unwrap();
        quota.spend(host, now + UNIT).unwrap_err();
    }
}
