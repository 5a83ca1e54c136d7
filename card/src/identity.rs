//! The card's TLS identity: short-lived, its key in the vault, replaced at half its life.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bartizan_attestation::keys::{Purpose, VaultReply, VaultRequest};
use bartizan_channel::{HandshakeSignError, HandshakeSigner, Identity};

use crate::unix_now;
use crate::vault::{Vault, VaultError};

/// How long the vault may take for a signature. Beyond it the handshake fails, for a reason of this host's: a verifier that closes
/// the connection meanwhile (after 10 s, if not configured otherwise) is not to be taken for one that does not answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Lifetime of a TLS client certificate in seconds.
const LIFETIME_S: u64 = 3600;

/// The current identity.
#[derive(Debug)]
pub struct TlsIdentity {
    vault: Vault,
    current: Mutex<Option<Current>>,
}

#[derive(Clone, Debug)]
struct Current {
    identity: Arc<Identity>,
    /// When it is half gone, in seconds since the Unix epoch.
    stale_from: u64,
    /// When it ends.
    ends: u64,
}

impl TlsIdentity {
    /// An identity that is made when it is first needed.
    #[must_use]
    pub fn new(vault: Vault) -> Self {
        Self {
            vault,
            current: Mutex::default(),
        }
    }

    /// The identity to show now. While the vault is away a half-gone one goes on to its end.
    pub fn current(&self) -> Result<Arc<Identity>, VaultError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = unix_now();
        if let Some(fresh) = current.as_ref().filter(|current| now < current.stale_from) {
            return Ok(Arc::clone(&fresh.identity));
        }
        match make(&self.vault, now) {
            Ok(made) => Ok(Arc::clone(&current.insert(made).identity)),
            Err(error) => match current.as_ref().filter(|current| now < current.ends) {
                Some(old) => {
                    tracing::warn!(%error, "TLS identity not renewed yet");
                    Ok(Arc::clone(&old.identity))
                }
                None => Err(error),
            },
        }
    }

    /// Where its keys are.
    pub(crate) const fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Makes a new one now.
    pub(crate) fn rotate(&self) -> Result<(), VaultError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Some(make(&self.vault, unix_now())?);
        Ok(())
    }
}

fn make(vault: &Vault, now: u64) -> Result<Current, VaultError> {
    let chain = vault.chain(&VaultRequest::RotateTlsClient {
        lifetime_s: LIFETIME_S,
    })?;
    let chain: Vec<_> = chain.into_iter().map(Vec::from).collect();
    let certificate = chain.first().cloned().ok_or(VaultError::Unexpected)?;
    let signer = VaultSigner {
        vault: vault.clone(),
        certificate,
    };
    let identity = Arc::new(Identity::new(chain, Arc::new(signer)));
    Ok(Current {
        identity,
        stale_from: now + LIFETIME_S / 2,
        ends: now + LIFETIME_S,
    })
}

/// Signs handshakes with the vault's key of one certificate.
#[derive(Debug)]
struct VaultSigner {
    vault: Vault,
    certificate: Vec<u8>,
}

impl HandshakeSigner for VaultSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, HandshakeSignError> {
        let request = VaultRequest::SignTls {
            purpose: Purpose::TlsClient,
            certificate: self.certificate.clone(),
            message: message.to_vec(),
        };
        let begun = Instant::now();
        // The handshake runs on a thread that serves others too: tell the runtime to move them.
        match tokio::task::block_in_place(|| self.vault.ask(&request)) {
            Ok(_) if begun.elapsed() > PATIENCE => {
                tracing::error!("the vault signed a TLS handshake too late");
                Err(HandshakeSignError)
            }
            Ok(VaultReply::Signature(signature)) => Ok(signature),
            Ok(_) => Err(HandshakeSignError),
            Err(error) => {
                tracing::error!(%error, "the vault did not sign a TLS handshake");
                Err(HandshakeSignError)
            }
        }
    }
}
