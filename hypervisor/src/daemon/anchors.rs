//! The fleet CA that the configuration names, and the CAs of the fleet that it leads to, as the card tells them. The card's word is
//! not believed: each is linked to the one that was named by cross-certificates.

use std::sync::{Arc, PoisonError, RwLock};

use bartizan_attestation::certificates::{FleetCa, Lineage};

use super::link::{CardLink, LinkError};

/// The trust anchor of this daemon.
#[derive(Debug)]
pub(super) struct Anchors {
    card: CardLink,
    known: RwLock<Arc<FleetCa>>,
}

impl Anchors {
    pub(super) fn new(named: FleetCa, card: CardLink) -> Self {
        Self {
            card,
            known: RwLock::new(Arc::new(named)),
        }
    }

    /// The CA that was named, and what it leads to as far as that is known.
    pub(super) fn ca(&self) -> Arc<FleetCa> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&known)
    }

    /// Takes what the card tells, if it is of this fleet.
    pub(super) fn learn(&self, told: &Lineage) {
        match self.ca().with_lineage(told) {
            Ok(linked) => {
                let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
                *known = Arc::new(linked);
            }
            Err(error) => {
                tracing::warn!(%error, "the card's fleet CAs are not those of the configuration's `fleet_ca`");
            }
        }
    }

    /// Asks the card.
    pub(super) async fn ask(&self) -> Result<(), LinkError> {
        self.learn(&self.card.host().await?.fleet_cas);
        Ok(())
    }

    /// The same where something was certified by a CA that is not known, and the card may know better.
    pub(super) async fn ask_if_there(&self) {
        if let Err(error) = self.ask().await {
            tracing::warn!(%error, "whether the fleet CA was replaced is not known");
        }
    }
}
