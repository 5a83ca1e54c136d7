//! From one card identity key to the next ([`bartizan_attestation::succession`]): the host's vault begins, the verifier's issues,
//! the host's installs.
//!
//! ```text
//!  begun: key 2 is made, and waits ──► installed: key 2 is in use, key 1 is destroyed
//!    └ begun again: the same key 2, whatever became of the answer
//! ```

use std::sync::PoisonError;

use bartizan_attestation::certificates::{FleetCa, Subject, Usage, verify_chain};
use bartizan_attestation::digest::sha256;
use bartizan_attestation::identity::CardId;
use bartizan_attestation::keys::{
    BegunSuccession, Chain, KeyKind, NextKey, Purpose, VaultRefusal, VaultReply,
};
use bartizan_attestation::succession::{Successor, verify};

use super::card::{IdentitySigner, card_of, request};
use super::{Operation, Outcome, chain, hex, store};
use crate::boot::{AfterCard, Reached};
use crate::issue::{Certificate, refused};
use crate::keyring::Record;
use crate::lifetime::YEAR_S;

impl Operation<'_> {
    /// Has the key in use name the next one. What was begun is finished first: the verifier may know of that key already, and then
    /// takes no other.
    pub(super) fn begin_succession(&self, _open: Reached<AfterCard>, next: NextKey) -> Outcome {
        let purpose = Purpose::CardIdentity;
        self.demand(purpose)?;
        // Of two at once, both name the same key. What else the vault is asked for goes on beside that: a device takes its time.
        let _turn = (self.succeeding.lock()).unwrap_or_else(PoisonError::into_inner);
        let (identity, waiting) = {
            let keyring = self.read();
            (keyring.identity().cloned(), keyring.successor().cloned())
        };
        let identity = identity.ok_or(VaultRefusal::NoKey { purpose })?;
        let begun = match (waiting, next) {
            (Some(waiting), _) => self.named(&identity, &waiting),
            (None, NextKey::New) => self.begin_new(&identity),
            (None, NextKey::Same) => self.named(&identity, &identity),
        };
        begun.map(VaultReply::Succession)
    }

    /// The key in use names the next one.
    fn named(&self, identity: &Record, next: &Record) -> Result<BegunSuccession, VaultRefusal> {
        let purpose = Purpose::CardIdentity;
        let csr = request(&self.issuer(next)?)?;
        let signer = IdentitySigner {
            operation: self,
            key: identity,
        };
        let certificates: Vec<_> = identity.chain.iter().map(|der| der.to_vec()).collect();
        let signed = Successor::new(csr).sign(&certificates, &signer);
        let signed = signed.map_err(refused)?;
        let certified = if next.id == identity.id {
            None
        } else {
            let word = self
                .backend
                .certify(purpose, &next.stored(), &sha256(&signed));
            word.map_err(store)?
        };
        Ok(BegunSuccession {
            signed: signed.into(),
            certified,
        })
    }

    /// Makes the next key. It waits from when it is in the store, and is there before anybody hears of it.
    fn begin_new(&self, identity: &Record) -> Result<BegunSuccession, VaultRefusal> {
        let purpose = Purpose::CardIdentity;
        let key = self.backend.generate(purpose).map_err(store)?;
        let record = Record {
            purpose,
            id: key.public.sha256().into(),
            public: key.public.spki_der().into(),
            blob: key.blob.clone().into(),
            chain: Vec::new(),
            not_after: u64::MAX,
        };
        let begun = self.named(identity, &record);
        if begun.is_err() {
            // Else a token would fill up with keys that no record names.
            self.destroy_unkept(purpose, &record.id, &key);
        }
        let begun = begun?;
        // Where that fails, it is not known whether the store on disk has it.
        let added = self.write().add_successor(record, self.now);
        added.map_err(store)?;
        Ok(begun)
    }

    /// Keeps the chain: the first, for the key that it names the card by; or, once there is one, another of the same card by the same
    /// fleet CA which does not end earlier, for the key in use or for the one that waits to succeed it.
    pub(super) fn install_card_identity(
        &self,
        _open: Reached<AfterCard>,
        chain: Chain,
        fleet_ca: Vec<u8>,
    ) -> Outcome {
        let purpose = Purpose::CardIdentity;
        self.demand(purpose)?;
        let anchor = FleetCa::from_der(&fleet_ca).map_err(refused)?;
        let certificates: Vec<_> = chain.iter().map(|der| der.to_vec()).collect();
        let verified =
            verify_chain(&certificates, &anchor, self.now, Usage::Card).map_err(refused)?;
        let id = verified.public_key.sha256();
        let mut keyring = self.write();
        if !(keyring.records().iter()).any(|record| record.purpose == purpose && *record.id == id) {
            return Err(VaultRefusal::NoKey { purpose });
        }
        let not_signable = |why: &str| Err(VaultRefusal::NotSignable(why.into()));
        match keyring.identity() {
            None if verified.card != Some(CardId(id)) => {
                return not_signable("a card's first certificate names it by its key");
            }
            None => {}
            Some(_) if keyring.fleet_ca() != Some(&fleet_ca) => {
                return not_signable("the card identity is of another fleet CA");
            }
            Some(identity) if verified.card != Some(card_of(identity)?) => {
                return not_signable("that certificate is another card's");
            }
            // The verifier may know the next one already, and take the one in use no more.
            Some(identity) if *identity.id == id && keyring.successor().is_some() => {
                return not_signable(
                    "another key waits to succeed the one in use; that one is to be certified",
                );
            }
            Some(identity) if verified.not_after < identity.not_after => {
                return not_signable("that certificate ends before the one that is in use");
            }
            Some(_) => {}
        }
        keyring
            .install(&id, &chain, verified.not_after, fleet_ca, self.now)
            .map_err(store)?;
        Ok(VaultReply::Certificates(chain))
    }

    /// Certifies the next key for who the present certificate says, and nobody else: the verifier has no say in it.
    pub(super) fn issue_successor(&self, succession: &[u8]) -> Outcome {
        let purpose = Purpose::FleetCa;
        let lineage = self.read().lineage();
        let lineage = lineage.ok_or(VaultRefusal::NoKey { purpose })?;
        let ca = FleetCa::from_der(&lineage.present).map_err(store)?;
        // The present certificate may be a former CA's: so a host gets its first by the present one.
        let ca = ca.with_lineage(&lineage).map_err(store)?;
        let succession = verify(succession, &ca, self.now).map_err(refused)?;
        let (card, next) = (succession.card, &succession.next);
        let renewal = succession.is_renewal();
        let present = succession.present;
        let name = present.common_name;
        let vault = present.vault;
        // INVARIANT: a card's certificate names its vault.
        let vault = vault.ok_or_else(|| refused("the present certificate names no vault"))?;
        let wanted = Certificate {
            usage: Usage::Card,
            subject: Subject::Host(card),
            common_name: name.clone(),
            names: Vec::new(),
            vault,
            launch_measurement: None,
            phases: Vec::new(),
            now: self.now,
            lifetime_s: YEAR_S,
        };
        let (certificate, end) = self.signed_by_fleet_ca(&wanted, next)?;
        self.note_certified(KeyKind::Card, next, &certificate, end)?;
        let key = hex(&next.sha256());
        tracing::info!(name, %card, key, renewal, "host certified anew");
        Ok(VaultReply::Certificates(chain([certificate])))
    }
}
