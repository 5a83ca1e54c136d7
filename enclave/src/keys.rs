//! The keys that are made in here and never leave, and what TLS shows of them.

use std::sync::{Arc, Mutex, PoisonError};

use bartizan_attestation::csr::{EphemeralKey, KeyError};
use bartizan_attestation::keys::Chain;
use bartizan_channel::{HandshakeSignError, Identity, LocalSigner};

/// The enclave's keys: one for handshakes, one for evidence. They live as long as the machine.
#[derive(Debug)]
pub struct Keys {
    /// What evidence is signed with.
    pub evidence: EphemeralKey,
    tls: EphemeralKey,
    signer: Arc<LocalSigner>,
    shown: Mutex<Shown>,
}

#[derive(Debug)]
struct Shown {
    identity: Arc<Identity>,
    /// The evidence key's chain; empty before it is certified.
    evidence: Chain,
    /// The last second of its certificate's validity, since the Unix epoch.
    evidence_until_s: u64,
}

/// The keys could not be made.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// No key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// TLS cannot use it.
    #[error(transparent)]
    Signer(#[from] HandshakeSignError),
}

impl Keys {
    /// Makes them. What is shown at first is a certificate of the TLS key's own making.
    pub fn make() -> Result<Self, KeysError> {
        let tls = EphemeralKey::generate()?;
        let signer = Arc::new(LocalSigner::from_pkcs8(tls.pkcs8_der())?);
        let identity = Identity::new(vec![tls.self_signed()?], signer.clone());
        Ok(Self {
            evidence: EphemeralKey::generate()?,
            tls,
            signer,
            shown: Mutex::new(Shown {
                identity: Arc::new(identity),
                evidence: Chain::new(),
                evidence_until_s: 0,
            }),
        })
    }

    /// The TLS key.
    #[must_use]
    pub const fn tls(&self) -> &EphemeralKey {
        &self.tls
    }

    /// What a handshake shows now.
    #[must_use]
    pub fn identity(&self) -> Arc<Identity> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&shown.identity)
    }

    /// The evidence key's chain, leaf first; empty before it is certified.
    #[must_use]
    pub fn evidence_chain(&self) -> Chain {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.evidence.clone()
    }

    /// Whether what the evidence key signs at this second is believed: its certificate has not ended.
    #[must_use]
    pub fn may_testify(&self, now_s: u64) -> bool {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        !shown.evidence.is_empty() && now_s <= shown.evidence_until_s
    }

    /// Shows these from now on, which were verified to be of these keys; the evidence key's until that second is over.
    pub(crate) fn show(&self, tls: Vec<Vec<u8>>, evidence: Chain, evidence_until_s: u64) {
        let identity = Arc::new(Identity::new(tls, self.signer.clone()));
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        *shown = Shown {
            identity,
            evidence,
            evidence_until_s,
        };
    }
}
