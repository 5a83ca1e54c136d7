//! The fleet CA that the measured configuration names, or the one that took its place: it is followed over cross-certificates, which the card
//! tells. The card's word is not believed, and not kept: an enclave that is started again begins with the configuration's, and asks at once.

use std::sync::{Arc, PoisonError, RwLock};

use bartizan_attestation::certificates::{FleetCa, Lineage, LineageError, LinkedCa};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// The trust anchor of this enclave.
#[derive(Debug)]
pub struct Anchors {
    /// That of the configuration.
    named: Vec<u8>,
    known: RwLock<LinkedCa>,
    /// Another one is trusted.
    changed: Notify,
}

impl Anchors {
    /// The CA that the configuration names.
    #[must_use]
    pub fn new(named: &FleetCa) -> Self {
        Self {
            named: named.der().to_vec(),
            known: RwLock::new(LinkedCa::alone(named)),
            changed: Notify::new(),
        }
    }

    /// The CA that is trusted, and what it leads to as far as that is known.
    #[must_use]
    pub fn ca(&self) -> Arc<FleetCa> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.ca())
    }

    /// For TLS, which tells only whether a path leads to one of them: the configuration's CA, the present one, and those between the two.
    /// What a path is good for is judged after that, by [`Self::ca`].
    #[must_use]
    pub fn roots(&self) -> Vec<Vec<u8>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let lineage = known.lineage();
        let former = lineage.former.iter().map(|former| &former.certificate);
        let mut roots = vec![self.named.clone()];
        for ca in former.chain([&lineage.present]) {
            if !roots.contains(ca) {
                roots.push(ca.to_vec());
            }
        }
        roots
    }

    /// Comes once another CA is trusted than at this call.
    pub fn another(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Follows to the present one of those that the card tells, if the one that is trusted leads there; answers whether another one is
    /// trusted now.
    ///
    /// # Errors
    /// It does not; who was trusted is trusted still.
    pub fn learn(&self, told: &Lineage, now_s: u64) -> Result<bool, LineageError> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let Some(rolled) = known.rolled(told, now_s)? else {
            return Ok(false);
        };
        let (former, present) = (known.ca(), rolled.ca());
        let is_another = present.der() != former.der();
        if is_another {
            tracing::warn!(
                ?former,
                ?present,
                "the fleet's new CA is trusted; name it in the configuration that is measured next"
            );
            self.changed.notify_waiters();
        }
        *known = rolled;
        Ok(is_another)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::tests::{Fleet, now_s};

    #[test]
    fn the_present_ca_is_followed_and_another_fleets_is_not() {
        let (fleet, stranger) = (Fleet::new(), Fleet::new());
        let anchors = Anchors::new(&fleet.ca);
        let (next, lineage) = fleet.rolled();
        let of_stranger = Lineage::of(stranger.ca.der().to_vec());
        anchors.learn(&of_stranger, now_s()).unwrap_err();
        assert_eq!(anchors.ca().der(), fleet.ca.der());
        assert!(anchors.learn(&lineage, now_s()).unwrap());
        assert!(!anchors.learn(&lineage, now_s()).unwrap());
        assert_eq!(anchors.ca().der(), next.ca.der());
        assert_eq!(anchors.roots(), [fleet.ca.der(), next.ca.der()]);
        // Whoever tells only what was before is not followed back.
        let before = Lineage::of(fleet.ca.der().to_vec());
        anchors.learn(&before, now_s()).unwrap_err();
        assert_eq!(anchors.ca().der(), next.ca.der());
    }
}
