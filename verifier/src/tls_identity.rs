//! The server's TLS identity: a short-lived certificate whose key is in the vault.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use axum::http::StatusCode;
use bartizan_attestation::certificates::{
    ChainError, FleetCa, Lineage, LinkedCa, Usage, verify_chain,
};
use bartizan_attestation::keys::{Purpose, VaultRequest};
use bartizan_channel::{Acceptor, ChannelError, Identity};

use crate::anchors::{Anchors, AnchorsError};
use crate::clock::now_s;
use crate::problem::ProblemType;
use crate::rotation::Rotates;
use crate::vault::{Vault, VaultError, VaultSigner};

/// The current identity, replaced at half its life. Connections that are open keep theirs.
#[derive(Debug)]
pub struct TlsIdentity {
    vault: Vault,
    anchors: Arc<Anchors>,
    names: Vec<String>,
    lifetime_s: u64,
    current: RwLock<Current>,
    one_at_a_time: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Current {
    acceptor: Acceptor,
    /// The fleet's CAs, of which the present one certified it.
    known: LinkedCa,
    /// DER.
    certificate: Vec<u8>,
    /// SHA-256 over the key's DER SubjectPublicKeyInfo.
    key: [u8; 32],
    validity: (u64, u64),
}

/// There is no TLS identity.
#[derive(Debug, thiserror::Error)]
pub enum TlsIdentityError {
    /// The vault did not make one.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// By which CA one would be is not known.
    #[error(transparent)]
    Anchors(#[from] AnchorsError),
    /// What the vault made is no server's certificate.
    #[error("the vault issued a certificate that is no TLS server's: {0}")]
    Issued(#[from] ChainError),
    /// TLS cannot be set up with it.
    #[error("TLS: {0}")]
    Tls(#[from] ChannelError),
}

impl ProblemType for TlsIdentityError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Vault(error) => error.kind(),
            Self::Anchors(error) => error.kind(),
            Self::Issued(_) | Self::Tls(_) => {
                ("vault-unexpected", StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }

    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Vault(error) => error.retry_after_s(),
            Self::Anchors(error) => error.retry_after_s(),
            Self::Issued(_) | Self::Tls(_) => None,
        }
    }
}

impl TlsIdentity {
    /// Has an identity made for a server that is reached by `names`.
    pub async fn open(
        vault: Vault,
        anchors: Arc<Anchors>,
        names: Vec<String>,
        lifetime_s: u64,
    ) -> Result<Self, TlsIdentityError> {
        let current = RwLock::new(make(&vault, &anchors, &names, lifetime_s).await?);
        Ok(Self {
            vault,
            anchors,
            names,
            lifetime_s,
            current,
            one_at_a_time: tokio::sync::Mutex::default(),
        })
    }

    /// For clients that connect now: shows the current identity, and takes those of each CA that is of the fleet.
    #[must_use]
    pub fn acceptor(&self) -> Acceptor {
        self.read().acceptor.clone()
    }
}

impl TlsIdentity {
    /// The certificate that is shown now, DER.
    #[must_use]
    pub fn certificate(&self) -> Vec<u8> {
        self.read().certificate.clone()
    }

    /// The fleet's CAs, as others are told. Who follows to the present one knows no server but one that it certified: that is shown by
    /// then.
    #[must_use]
    pub fn lineage(&self) -> Arc<Lineage> {
        Arc::clone(self.read().known.lineage())
    }

    /// Has an identity by the present fleet CA made, if the current one is not.
    pub async fn follow(&self) -> Result<(), TlsIdentityError> {
        let _turn = self.one_at_a_time.lock().await;
        if self.read().known.ca().sha256() == self.anchors.ca().sha256() {
            return Ok(());
        }
        self.replace().await
    }

    async fn replace(&self) -> Result<(), TlsIdentityError> {
        let new = make(&self.vault, &self.anchors, &self.names, self.lifetime_s).await?;
        tracing::info!(not_after = new.validity.1, "TLS server key rotated");
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// Has a key destroyed, by the SHA-256 of its DER SubjectPublicKeyInfo. The one that is shown is replaced first; handshakes that were
    /// begun with it fail.
    pub async fn revoke(&self, key: [u8; 32]) -> Result<(), TlsIdentityError> {
        if self.read().key == key {
            self.rotate().await?;
        }
        Ok(self.vault.revoke(Purpose::TlsServer, key).await?)
    }

    fn read(&self) -> RwLockReadGuard<'_, Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn make(
    vault: &Vault,
    anchors: &Anchors,
    names: &[String],
    lifetime_s: u64,
) -> Result<Current, TlsIdentityError> {
    // Before the vault makes a key: one by a CA that is not known is of no use, and as many as those have the one in use destroyed.
    anchors.learn().await?;
    let request = VaultRequest::RotateTlsServer {
        names: names.to_vec(),
        lifetime_s,
    };
    let chain = vault.certificates(request).await?;
    let (known, _) = anchors.issued(&chain, Usage::TlsServer).await?;
    // The present one's: who has followed to it knows no server of a former one's.
    let certificate = verify_chain(&chain, &known.ca().alone(), now_s(), Usage::TlsServer)?;
    let leaf = chain.first().cloned().unwrap_or_default();
    let signer = Arc::new(VaultSigner::new(vault.clone(), leaf.clone()));
    let shown = [chain, known.lineage().new_with_old()].concat();
    let identity = Arc::new(Identity::new(shown, signer));
    Ok(Current {
        acceptor: Acceptor::new(move || Arc::clone(&identity), &cas(known.ca()))?.with_http2(),
        known,
        certificate: leaf,
        key: certificate.public_key.sha256(),
        validity: (certificate.not_before, certificate.not_after),
    })
}

/// The certificates (DER) of all CAs whose clients are of the fleet now.
fn cas(present: &FleetCa) -> Vec<Vec<u8>> {
    let now = now_s();
    let former = (present.linked())
        .filter(|(_, (begin, end))| (*begin..=*end).contains(&now))
        .filter_map(|(sha256, _)| present.named(&hex::encode(sha256), now));
    std::iter::once(present.der())
        .chain(former)
        .map(<[u8]>::to_vec)
        .collect()
}

impl Rotates for TlsIdentity {
    const NAME: &'static str = "TLS server";
    type Error = TlsIdentityError;

    fn validity(&self) -> (u64, u64) {
        let current = self.read();
        if current.known.ca().sha256() == self.anchors.ca().sha256() {
            current.validity
        } else {
            // The fleet CA was replaced since: it is due.
            (0, 0)
        }
    }

    async fn rotate(&self) -> Result<(), TlsIdentityError> {
        let _turn = self.one_at_a_time.lock().await;
        self.replace().await
    }
}
