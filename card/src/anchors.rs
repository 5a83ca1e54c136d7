//! The fleet CA that this host trusts. When it was replaced, the host follows it over cross-certificates, without a restart: first its
//! vault, which judges them by itself and keeps them, then the card.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bartizan_attestation::certificates::{FleetCa, Lineage, LineageError, LinkedCa};
use bartizan_attestation::host::CardRefusal;
use bartizan_attestation::keys::{VaultReply, VaultRequest};
use tokio::sync::Notify;

use crate::service::Card;
use crate::unix_now;
use crate::vault::{Vault, VaultError};

/// How often the verifier is asked for its CAs. Whoever pins a former one is served all the same.
const PERIOD: Duration = Duration::from_secs(300);

/// The trust anchor of this host.
#[derive(Debug)]
pub struct Anchors {
    vault: Vault,
    known: RwLock<LinkedCa>,
    one_at_a_time: tokio::sync::Mutex<()>,
    changed: Notify,
}

/// The fleet CA was not followed; the one that was trusted is trusted still.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The verifier did not tell its CAs.
    #[error(transparent)]
    Refused(#[from] CardRefusal),
    /// The vault did not follow.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The verifier's CAs are not those of this fleet.
    #[error("the verifier's fleet CAs are refused: {0}")]
    Lineage(#[from] LineageError),
}

impl Anchors {
    /// The CAs that the vault has kept.
    pub fn new(vault: Vault, kept: Lineage) -> Result<Self, LineageError> {
        Ok(Self {
            vault,
            known: RwLock::new(LinkedCa::present(kept)?),
            one_at_a_time: tokio::sync::Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// What is known now.
    #[must_use]
    pub fn known(&self) -> LinkedCa {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    /// The CA that is trusted, and what it leads to.
    #[must_use]
    pub fn ca(&self) -> Arc<FleetCa> {
        Arc::clone(self.known().ca())
    }

    /// Waits until another CA is trusted; at once, if that is so since the last time.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Takes these CAs for the fleet's, if the one that is trusted leads to their present one.
    pub(crate) async fn follow(&self, lineage: Lineage) -> Result<(), FollowError> {
        let _turn = self.one_at_a_time.lock().await;
        let known = self.known();
        let Some(rolled) = known.rolled(&lineage, unix_now())? else {
            return Ok(());
        };
        let roll = VaultRequest::RollFleetCa { lineage };
        let VaultReply::Done = self.vault.ask_async(roll).await? else {
            return Err(VaultError::Unexpected.into());
        };
        let (former, present) = (known.ca(), Arc::clone(rolled.ca()));
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = rolled;
        if present.der() != former.der() {
            tracing::warn!(?former, ?present, "this host trusts the fleet's new CA");
            self.changed.notify_one();
        }
        Ok(())
    }
}

/// Follows the fleet CA for ever.
pub async fn keep_followed(card: &Card) {
    loop {
        if let Err(error) = card.verifier.follow_fleet_ca().await {
            tracing::warn!(%error, "whether the fleet CA was replaced is not known; trying again");
        }
        tokio::time::sleep(PERIOD).await;
    }
}

#[cfg(test)]
mod tests {
    use bartizan_attestation::certificates::FormerFleetCa;
    use bartizan_attestation::csr::EphemeralKey;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyUsagePurpose};

    use super::*;

    fn ca() -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca = params.self_signed(&EphemeralKey::generate().unwrap());
        ca.unwrap().der().to_vec()
    }

    /// Not even the vault is asked.
    #[tokio::test]
    async fn cas_of_another_fleet_are_not_followed() {
        let kept = Lineage::of(ca());
        let anchors = Anchors::new(Vault::new("/nonexistent".into()), kept.clone()).unwrap();
        let foreign = Lineage::of(ca());
        let unlinked = Lineage {
            present: foreign.present.clone(),
            former: vec![FormerFleetCa {
                certificate: kept.present.clone(),
                new_with_old: kept.present.clone(),
                old_with_new: foreign.present.clone(),
            }],
        };
        for lineage in [foreign, unlinked] {
            let refused = anchors.follow(lineage).await;
            assert!(
                matches!(refused, Err(FollowError::Lineage(_))),
                "{refused:?}"
            );
            assert_eq!(**anchors.known().lineage(), kept);
        }
        anchors.follow(kept).await.unwrap();
    }
}
