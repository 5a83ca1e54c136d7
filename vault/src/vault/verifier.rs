//! What the verifier's vault does: the fleet CA, the TLS server key, token keys.

use bartizan_attestation::certificates::{Subject, Usage};
use bartizan_attestation::cose::PublicKey;
use bartizan_attestation::csr;
use bartizan_attestation::identity::CardId;
use bartizan_attestation::keys::{KeyKind, Purpose, VaultKind, VaultRefusal, VaultReply};
use bartizan_attestation::result::{check_claims_json, compact, signing_input};

use super::{Operation, Outcome, chain, hex, leaf, short, store};
use crate::backend::Encoding;
use crate::issue::{Certificate, IssuerKey, fleet_ca, refused};
use crate::keyring::Record;
use crate::lifetime::{YEAR_S, lifetime};

/// How long a fleet CA lasts, in seconds.
pub(super) const FLEET_CA_S: u64 = 10 * YEAR_S;
/// Longest name of a host, operator or fleet in bytes: X.520's bound of a common name.
const MAX_NAME: usize = 64;
/// Most seconds between a result's time of issue and that of its signature, by the one clock that verifier
/// and vault have.
const MAX_TOKEN_SKEW_S: u64 = 60;
/// Most names of a TLS server.
const MAX_NAMES: usize = 32;

impl Operation<'_> {
    pub(super) fn create_fleet_ca(&self, name: &str) -> Outcome {
        let purpose = Purpose::FleetCa;
        self.demand(purpose)?;
        check_name(name)?;
        // Locked to the end: of two at once, one makes it.
        let mut keyring = self.write();
        if keyring.newest(purpose).is_some() {
            return Err(VaultRefusal::Exists { purpose });
        }
        let key = self.backend.generate(purpose).map_err(store)?;
        let id = key.public.sha256();
        let stored = crate::backend::StoredKey {
            id: &id,
            blob: &key.blob,
        };
        let issuer = IssuerKey {
            backend: self.backend,
            purpose,
            key: stored,
            public: key.public.clone(),
            failed: &self.failed,
        };
        let (der, not_after) = fleet_ca(name, self.now, FLEET_CA_S, &issuer)?;
        let record = Record {
            purpose,
            id: id.into(),
            public: key.public.spki_der().into(),
            blob: key.blob.clone().into(),
            chain: chain([der.clone()]),
            not_after,
        };
        keyring
            .add_fleet_ca(record, der.clone(), self.now)
            .map_err(store)?;
        tracing::info!(name, certificate = short(&der), "fleet CA made");
        Ok(VaultReply::Certificates(chain([der])))
    }

    pub(super) fn issue_host(&self, csr: &[u8], name: &str, vault: VaultKind) -> Outcome {
        check_name(name)?;
        let key = csr::verify(csr).map_err(refused)?;
        let card = CardId(key.sha256());
        let (usage, subject) = (Usage::Card, Subject::Host(card));
        let wanted = Certificate {
            usage,
            subject,
            common_name: name.into(),
            names: Vec::new(),
            vault,
            launch_measurement: None,
            phases: Vec::new(),
            now: self.now,
            lifetime_s: YEAR_S,
        };
        let (certificate, end) = self.signed_by_fleet_ca(&wanted, &key)?;
        self.note_certified(KeyKind::Card, &key, &certificate, end)?;
        // Said here: what a verifier that was taken over has certified is not in its own log.
        tracing::info!(name, %card, vault = vault.name(), "host certified");
        Ok(VaultReply::Certificates(chain([certificate])))
    }

    pub(super) fn rotate_tls_server(&self, names: Vec<String>, lifetime_s: u64) -> Outcome {
        self.demand(Purpose::TlsServer)?;
        let lifetime_s = lifetime(Usage::TlsServer, lifetime_s)?;
        if names.is_empty() || names.len() > MAX_NAMES {
            return Err(VaultRefusal::NotSignable(format!(
                "a server has 1 to {MAX_NAMES} names"
            )));
        }
        let made = self.make(Purpose::TlsServer, |this, key| {
            let name = "verifier".to_owned();
            let (usage, subject) = (Usage::TlsServer, Subject::Server);
            let (leaf, end) =
                this.issued_by_fleet_ca(usage, subject, name, names, lifetime_s, key)?;
            Ok((chain([leaf]), end))
        });
        made.map(VaultReply::Certificates)
    }

    pub(super) fn rotate_token(&self, lifetime_s: u64) -> Outcome {
        self.demand(Purpose::Token)?;
        let lifetime_s = lifetime(Usage::Token, lifetime_s)?;
        let made = self.make(Purpose::Token, |this, key| {
            let name = "verifier tokens".to_owned();
            let (usage, subject) = (Usage::Token, Subject::Token);
            let (leaf, end) =
                this.issued_by_fleet_ca(usage, subject, name, Vec::new(), lifetime_s, key)?;
            Ok((chain([leaf]), end))
        });
        made.map(VaultReply::Certificates)
    }

    /// Destroys a key that signs for the verifier itself; hosts' and operators' are revoked at the verifier.
    pub(super) fn revoke(&self, purpose: Purpose, id: &[u8; 32]) -> Outcome {
        self.demand(purpose)?;
        if !matches!(purpose, Purpose::Token | Purpose::TlsServer) {
            return Err(VaultRefusal::NotSignable(
                "only token keys and TLS server keys are revoked here".into(),
            ));
        }
        let revoked = self.write().revoke(purpose, id, self.now);
        if revoked.map_err(store)? {
            tracing::warn!(?purpose, id = hex(id), "key revoked");
            Ok(VaultReply::Done)
        } else {
            Err(VaultRefusal::NoKey { purpose })
        }
    }

    pub(super) fn sign_token(&self, claims: &str, certificate: &[u8]) -> Outcome {
        let purpose = Purpose::Token;
        self.demand(purpose)?;
        let checked = check_claims_json(claims).map_err(refused)?;
        // No results for later: who takes the verifier over and is thrown out keeps none.
        if checked.iat.abs_diff(self.now) > MAX_TOKEN_SKEW_S {
            return Err(VaultRefusal::NotSignable(
                "a result is signed when it is issued: `iat` is not now".into(),
            ));
        }
        let record = self.certified(purpose, certificate)?;
        let input = signing_input(certificate, claims);
        let signature = self
            .backend
            .sign(purpose, &record.stored(), input.as_bytes(), Encoding::Fixed)
            .map_err(store)?;
        Ok(VaultReply::Token(compact(&input, &signature)))
    }

    pub(super) fn issued_by_fleet_ca(
        &self,
        usage: Usage,
        subject: Subject,
        common_name: String,
        names: Vec<String>,
        lifetime_s: u64,
        key: &PublicKey,
    ) -> Result<(Vec<u8>, u64), VaultRefusal> {
        let wanted = Certificate {
            usage,
            subject,
            common_name,
            names,
            vault: self.backend.kind(),
            launch_measurement: None,
            phases: Vec::new(),
            now: self.now,
            lifetime_s,
        };
        self.signed_by_fleet_ca(&wanted, key)
    }

    pub(super) fn signed_by_fleet_ca(
        &self,
        wanted: &Certificate,
        key: &PublicKey,
    ) -> Result<(Vec<u8>, u64), VaultRefusal> {
        let purpose = Purpose::FleetCa;
        let fleet = self.newest(purpose)?;
        let certificate = leaf(&fleet).ok_or(VaultRefusal::NoKey { purpose })?;
        match wanted.issue(key, certificate, self.issuer(&fleet)?) {
            // It was replaced meanwhile, and its key may be gone.
            Err(_) if self.newest(purpose)?.id != fleet.id => self.signed_by_fleet_ca(wanted, key),
            issued => issued,
        }
    }
}

fn check_name(name: &str) -> Result<(), VaultRefusal> {
    let fits = (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control);
    if fits {
        return Ok(());
    }
    Err(VaultRefusal::NotSignable(format!(
        "a name has 1 to {MAX_NAME} bytes and no control characters"
    )))
}
