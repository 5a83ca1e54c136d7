//! How often a host may report in with its vault's counter: each is a durable write, over the connection that verdicts are written by.
//!
//! Only what the host's own key has signed is counted: who has no more of a copied vault than may speak to the verifier takes none of
//! the host's reports. What garbage costs until it is refused is a signature to verify: as many at once as the host's connections and
//! its share of the memory allow, one after the other, without a rate.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use bartizan_attestation::identity::CardId;

use super::buckets::OfHosts;
use crate::payer::network;
use crate::problem::ProblemType;

/// Reports of a host at once, from one network. It needs two an hour, and one for each start of its card.
const BURST: u32 = 32;
/// In which there may be one more.
const UNIT: Duration = Duration::from_secs(5);
/// As many networks as a host may use up at once: who has an IPv6 prefix has more of them than can be written for.
const NETWORKS: u32 = 8;

/// Who reported in lately.
#[derive(Debug)]
pub struct CounterQuota {
    /// For each network apart, so that a copy of a host's vault elsewhere does not keep the host from reporting in.
    of_networks: OfHosts<(CardId, IpAddr)>,
    /// Of all networks. A copy that has many can use that up; what shows that there is one is taken beyond it.
    of_hosts: OfHosts,
}

/// A host reports in too often.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("this host has reported in too often; try again later")]
pub struct CounterQuotaError {
    /// When it may again.
    retry_after: Duration,
}

impl Default for CounterQuota {
    fn default() -> Self {
        Self {
            of_networks: OfHosts::new(UNIT, BURST),
            of_hosts: OfHosts::new(UNIT / NETWORKS, BURST * NETWORKS),
        }
    }
}

impl CounterQuota {
    /// Spends one report of a host from an address, if there is one. Its statement is known to be its vault's.
    pub fn spend(&self, card: CardId, from: IpAddr, now: Instant) -> Result<(), CounterQuotaError> {
        let spent = (self.of_networks.spend((card, network(from)), now))
            .and_then(|()| self.of_hosts.spend(card, now));
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

    #[test]
    fn a_host_of_many_networks_has_no_more_than_eight_and_no_other_waits_for_it() {
        let (quota, now) = (CounterQuota::default(), Instant::now());
        let host = CardId([1; 32]);
        let subnet = |number: u16| IpAddr::from([0x2001, 0xdb8, 0, number, 0, 0, 0, 1]);
        let reports = (0..1000).map(|number| quota.spend(host, subnet(number), now));
        assert_eq!(reports.filter(Result::is_ok).count(), 8 * 32);
        let refused = quota.spend(host, subnet(1000), now).unwrap_err();
        assert_eq!(refused.retry_after, UNIT / 8);
        quota.spend(CardId([2; 32]), subnet(0), now).unwrap();
        let later = now + UNIT;
        let reports = (1001..2000).map(|number| quota.spend(host, subnet(number), later));
        assert_eq!(reports.filter(Result::is_ok).count(), 8);
    }
}
