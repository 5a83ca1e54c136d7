//! The server's TLS identity: a short-lived certificate whose key is in the vault.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use bartizan_attestation::certificates::{ChainError, FleetCa, Usage, verify_chain};
use bartizan_attestation::keys::{Purpose, VaultRequest};
use bartizan_channel::{Acceptor, ChannelError, Identity};

use crate::clock::now_s;
use crate::rotation::Rotates;
use crate::vault::{Vault, VaultError, VaultSigner};

/// The current identity, replaced at half its life. Connections that are open keep theirs.
#[derive(Debug)]
pub struct TlsIdentity {
    vault: Vault,
    fleet_ca: FleetCa,
    names: Vec<String>,
    lifetime_s: u64,
    current: RwLock<Current>,
}

#[derive(Debug)]
struct Current {
    identity: Arc<Identity>,
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
    /// What the vault made is no server's certificate.
    #[error("the vault issued a certificate that is no TLS server's: {0}")]
    Issued(#[from] ChainError),
}

impl TlsIdentity {
    /// Has an identity made for a server that is reached by `names`.
    pub async fn open(
        vault: Vault,
        fleet_ca: FleetCa,
        names: Vec<String>,
        lifetime_s: u64,
    ) -> Result<Self, TlsIdentityError> {
        let current = RwLock::new(make(&vault, &fleet_ca, &names, lifetime_s).await?);
        Ok(Self {
            vault,
            fleet_ca,
            names,
            lifetime_s,
            current,
        })
    }

    /// What is shown to clients that connect now.
    #[must_use]
    pub fn current(&self) -> Arc<Identity> {
        Arc::clone(&self.read().identity)
    }
}

impl TlsIdentity {
    /// The certificate that is shown now, DER.
    #[must_use]
    pub fn certificate(&self) -> Vec<u8> {
        self.read().certificate.clone()
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

/// An acceptor of TLS connections that shows the current identity.
pub fn acceptor(identity: &Arc<TlsIdentity>, ca: &FleetCa) -> Result<Acceptor, ChannelError> {
    let identity = Arc::clone(identity);
    Acceptor::new(move || identity.current(), ca.der())
}

async fn make(
    vault: &Vault,
    fleet_ca: &FleetCa,
    names: &[String],
    lifetime_s: u64,
) -> Result<Current, TlsIdentityError> {
    let request = VaultRequest::RotateTlsServer {
        names: names.to_vec(),
        lifetime_s,
    };
    let chain = vault.certificates(request).await?;
    let certificate = verify_chain(&chain, fleet_ca, now_s(), Usage::TlsServer)?;
    let leaf = chain.first().cloned().unwrap_or_default();
    let signer = Arc::new(VaultSigner::new(vault.clone(), leaf.clone()));
    Ok(Current {
        identity: Arc::new(Identity::new(chain, signer)),
        certificate: leaf,
        key: certificate.public_key.sha256(),
        validity: (certificate.not_before, certificate.not_after),
    })
}

impl Rotates for TlsIdentity {
    const NAME: &'static str = "TLS server";
    type Error = TlsIdentityError;

    fn validity(&self) -> (u64, u64) {
        self.read().validity
    }

    async fn rotate(&self) -> Result<(), TlsIdentityError> {
        let new = make(&self.vault, &self.fleet_ca, &self.names, self.lifetime_s).await?;
        tracing::info!(not_after = new.validity.1, "TLS server key rotated");
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }
}
