//! How often a host may renew its certificate: each is a signature of the fleet CA, a line in the vault's log and
//! a durable write. And how often it may ask for that: each time three signatures are verified.
//!
//! It is not refused for being early: a verifier may have renewed a certificate which its host never got, whose
//! vault could not keep it or whose answer was lost. Such a host asks again with the former one, and is a good one.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use bartizan_attestation::identity::CardId;

use super::buckets::OfHosts;
use crate::problem::ProblemType;
use crate::storage::KeyId;

/// Renewals of a host at once. It needs one in half a year.
const BURST: u32 = 8;
/// In which a host may renew once more.
const UNIT: Duration = Duration::from_secs(3600);
/// Requests of a host at once, whatever comes of them.
const REQUEST_BURST: u32 = 32;
/// In which a host may ask once more. Its card asks again after ten minutes, or when it is told to.
const REQUEST_UNIT: Duration = Duration::from_secs(10);

/// What hosts renewed lately.
#[derive(Debug)]
pub struct RenewalQuota {
    /// For each key: who has one of before that is long over takes nothing from the host.
    requests: OfHosts<(CardId, KeyId)>,
    renewals: OfHosts,
}

/// A host renews too often.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RenewalQuotaError {
    /// It asks too often, whatever it is answered.
    #[error("this host asks for another certificate too often; try again later")]
    Requests {
        /// When it may again.
        retry_after: Duration,
    },
    /// It got too many.
    #[error(
        "this host has renewed its certificate too often; the one that it has is good as before, try again later"
    )]
    Renewals {
        /// When there may be another.
        retry_after: Duration,
    },
}

impl Default for RenewalQuota {
    fn default() -> Self {
        Self {
            requests: OfHosts::new(REQUEST_UNIT, REQUEST_BURST),
            renewals: OfHosts::new(UNIT, BURST),
        }
    }
}

impl RenewalQuota {
    /// Spends one request by a key of a host, if there is one.
    pub fn ask(&self, card: CardId, key: KeyId, now: Instant) -> Result<(), RenewalQuotaError> {
        let spent = self.requests.spend((card, key), now);
        spent.map_err(|retry_after| RenewalQuotaError::Requests { retry_after })
    }

    /// Spends one renewal of a host, if there is one.
    pub fn spend(&self, card: CardId, now: Instant) -> Result<(), RenewalQuotaError> {
        let spent = self.renewals.spend(card, now);
        spent.map_err(|retry_after| RenewalQuotaError::Renewals { retry_after })
    }
}

impl ProblemType for RenewalQuotaError {
    fn kind(&self) -> (&'static str, StatusCode) {
        ("host-renewals-exhausted", StatusCode::TOO_MANY_REQUESTS)
    }

    fn retry_after_s(&self) -> Option<u64> {
        let (Self::Requests { retry_after } | Self::Renewals { retry_after }) = self;
        Some(retry_after.as_secs() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_never_gets_its_certificate_waits_an_hour_at_most_and_no_other_does() {
        let (quota, now) = (RenewalQuota::default(), Instant::now());
        let (host, other) = (CardId([1; 32]), CardId([2; 32]));
        for _ in 0..BURST {
            quota.spend(host, now).unwrap();
        }
        let refused = quota.spend(host, now).unwrap_err();
        let expected = RenewalQuotaError::Renewals { retry_after: UNIT };
        assert_eq!(refused, expected);
        assert_eq!(refused.retry_after_s(), Some(3601));
        quota.spend(other, now).unwrap();
        // Refusals cost nothing, however many there are.
        quota.spend(host, now).unwrap_err();
        quota.spend(host, now + UNIT).unwrap();
        quota.spend(host, now + UNIT).unwrap_err();
    }

    #[test]
    fn asking_is_bounded_too_and_costs_no_renewal() {
        let (quota, now) = (RenewalQuota::default(), Instant::now());
        let (host, key) = (CardId([1; 32]), [1; 32]);
        for _ in 0..REQUEST_BURST {
            quota.ask(host, key, now).unwrap();
        }
        let refused = quota.ask(host, key, now).unwrap_err();
        let retry_after = REQUEST_UNIT;
        assert_eq!(refused, RenewalQuotaError::Requests { retry_after });
        quota.ask(CardId([2; 32]), key, now).unwrap();
        quota.ask(host, [2; 32], now).unwrap();
        quota.spend(host, now).unwrap();
    }

    #[test]
    fn a_day_of_asking_is_a_bounded_number_of_signatures() {
        let (quota, begun) = (RenewalQuota::default(), Instant::now());
        let seconds = (0..86_400).step_by(10).map(Duration::from_secs);
        let host = CardId([1; 32]);
        let renewed = seconds.filter(|after| quota.spend(host, begun + *after).is_ok());
        assert_eq!(renewed.count(), 8 + 23);
    }
}
