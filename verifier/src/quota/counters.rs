//! How often a host may report in with its vault's counter: each is a signature to verify and a durable write.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use bartizan_attestation::identity::CardId;

use super::buckets::OfHosts;
use crate::payer::Payer;
use crate::problem::ProblemType;

/// Reports of a host at once. It needs two an hour, and one for each start of its card.
const BURST: u32 = 32;
/// In which there may be one more.
const UNIT: Duration = Duration::from_secs(5);

/// Who reported in lately: for each network apart, since a copy of a host's vault may not keep the host itself from reporting in.
#[derive(Debug)]
pub struct CounterQuota(OfHosts<(CardId, Payer)>);

/// A host reports in too often.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("this host has reported in too often; try again later")]
pub struct CounterQuotaError {
    /// When it may again.
    retry_after: Duration,
}

impl Default for CounterQuota {
    fn default() -> Self {
        Self(OfHosts::new(UNIT, BURST))
    }
}

impl CounterQuota {
    /// Spends one report of a host from an address, if there is one.
    pub fn spend(&self, card: CardId, from: IpAddr, now: Instant) -> Result<(), CounterQuotaError> {
        let spent = self.0.spend((card, Payer::network(from)), now);
        spent.map_err(|retry_after| CounterQuotaError { retry_after })
    }
}

impl ProblemType for CounterQuotaError {
    fn kind(&self) -> (&'static str, StatusCode) {
        ("host-counters-exhausted", StatusCode::TOO_MANY_REQUESTS)
    }

    fn retry_after_s(&self) -> Option<u64> {
        Some(self.retry_after.as_secs() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_reports_without_end_waits_and_the_host_does_not() {
        let (quota, now) = (CounterQuota::default(), Instant::now());
        let host = CardId([1; 32]);
        let [here, elsewhere] = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap());
        for _ in 0..BURST {
            quota.spend(host, here, now).unwrap();
        }
        let refused = quota.spend(host, here, now).unwrap_err();
        assert_eq!(refused.retry_after_s(), Some(6));
        quota.spend(host, elsewhere, now).unwrap();
        quota.spend(CardId([2; 32]), here, now).unwrap();
        quota.spend(host, here, now + UNIT).unwrap();
        quota.spend(host, here, now + UNIT).unwrap_err();
    }
}
