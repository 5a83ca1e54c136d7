//! A fleet whose keys are always the same, so that what it signed once is good in every run: its CA, one card,
//! one guest with its measurer, an operator, a token key. All certificates are valid in 2026.

mod certificates;
mod keys;

use std::sync::LazyLock;

use bartizan_attestation::certificates::{FleetCa, FormerFleetCa, Lineage, Usage};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::identity::{CardId, GuestIdentity};
use bartizan_attestation::measurement::Digest;

pub use certificates::{signed_contents, signed_der};
pub use keys::TokenKey;

/// 2026-06-01T00:00:00Z, in seconds since the Unix epoch.
pub const NOW_S: u64 = 1_780_272_000;

/// The fleet.
pub static FLEET: LazyLock<Fleet> = LazyLock::new(Fleet::new);

/// A fleet.
pub struct Fleet {
    /// Its CA's certificate.
    pub ca: FleetCa,
    /// The certificate of the CA that took its place.
    pub next_ca: FleetCa,
    /// The two CAs, and what links them.
    pub lineage: Lineage,
    /// The one guest, on the one card.
    pub guest: GuestIdentity,
    /// The card's key: it signs the certificates of report and guest keys.
    pub card_key: EphemeralKey,
    /// The fleet CA's key.
    pub ca_key: EphemeralKey,
    /// The measurer's key.
    pub report_key: EphemeralKey,
    /// The guest's key.
    pub guest_key: EphemeralKey,
    /// The operator's key.
    pub operator_key: EphemeralKey,
    /// The key of attestation results.
    pub token_key: TokenKey,
}

impl Fleet {
    fn new() -> Self {
        let [ca_key, card_key, report_key, guest_key, operator_key] =
            [1, 2, 3, 4, 5].map(keys::p384);
        let card = CardId(card_key.public_key().sha256());
        let next_ca_key = keys::p384(7);
        let (ca, next_ca) = (
            certificates::fleet_ca(&ca_key),
            certificates::fleet_ca(&next_ca_key),
        );
        let former = FormerFleetCa {
            certificate: ca.der().to_vec().into(),
            new_with_old: certificates::cross(&next_ca_key, &ca_key, Vec::new()).into(),
            old_with_new: certificates::cross(&ca_key, &next_ca_key, Usage::of_former_ca()).into(),
        };
        let lineage = Lineage {
            present: next_ca.der().to_vec().into(),
            former: vec![former],
        };
        Self {
            ca,
            next_ca,
            lineage,
            guest: GuestIdentity {
                card,
                vm: [5; 16],
                boot: 3,
            },
            card_key,
            ca_key,
            report_key,
            guest_key,
            operator_key,
            token_key: TokenKey::new(6),
        }
    }

    /// The guest's launch measurement.
    #[must_use]
    pub fn launch_measurement(&self) -> Digest {
        Digest(vec![7; 48])
    }

    /// The chain of the key of one usage, as [`bartizan_attestation::certificates::verify_chain`] wants it.
    #[must_use]
    pub fn chain(&self, usage: Usage) -> Vec<Vec<u8>> {
        certificates::chain(self, usage)
    }

    /// The key that signs certificates of one usage.
    #[must_use]
    pub const fn issuer(&self, usage: Usage) -> &EphemeralKey {
        if usage.issued_by_card() {
            &self.card_key
        } else {
            &self.ca_key
        }
    }
}
