//! The card's TLS identity: short-lived, its key in the vault, replaced at half its life.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
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
/// By how much the vault has certificates begin earlier, in seconds.
const BACKDATED_S: u64 = 60;

/// The current identity.
#[derive(Debug)]
pub struct TlsIdentity {
    vault: Vault,
    current: Mutex<Option<Current>>,
}

/// The identity as one handshake shows it.
#[derive(Debug)]
pub struct Shown {
    /// The chain, and who signs for it.
    pub identity: Arc<Identity>,
    unsigned: Arc<OnceLock<VaultError>>,
}

impl Shown {
    /// Why the vault did not sign this handshake: TLS tells of nothing but that it failed.
    #[must_use]
    pub fn unsigned(&self) -> Option<&VaultError> {
        self.unsigned.get()
    }
}

#[derive(Clone, Debug)]
struct Current {
    /// DER, leaf first; the vault has the leaf's key.
    chain: Vec<Vec<u8>>,
    /// When it was made, in seconds since the Unix epoch.
    made: u64,
}

impl Current {
    /// In the first half of its life. One that was made while the clock was ahead is not valid yet.
    fn is_fresh(&self, now: u64) -> bool {
        (self.made..self.made.saturating_add(LIFETIME_S / 2)).contains(&now)
    }

    /// Valid, by a clock that is at most [`BACKDATED_S`] behind that by which it was made.
    fn is_valid(&self, now: u64) -> bool {
        let begins = self.made.saturating_sub(BACKDATED_S);
        (begins..self.made.saturating_add(LIFETIME_S)).contains(&now)
    }
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

    /// The identity to show in a handshake now. While the vault is away a half-gone one goes on to its end.
    pub fn current(&self) -> Result<Shown, VaultError> {
        Ok(self.show(self.chain()?))
    }

    /// The same for who pins a former fleet CA: behind the chain are the cross-certificates that lead from there, the newest first.
    pub fn linked(&self, links: Vec<Vec<u8>>) -> Result<Shown, VaultError> {
        Ok(self.show([self.chain()?, links].concat()))
    }

    fn show(&self, chain: Vec<Vec<u8>>) -> Shown {
        let unsigned = Arc::<OnceLock<_>>::default();
        let signer = VaultSigner {
            vault: self.vault.clone(),
            certificate: chain.first().cloned().unwrap_or_default(),
            unsigned: Arc::clone(&unsigned),
        };
        Shown {
            identity: Arc::new(Identity::new(chain, Arc::new(signer))),
            unsigned,
        }
    }

    fn chain(&self) -> Result<Vec<Vec<u8>>, VaultError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = unix_now();
        if let Some(fresh) = current.as_ref().filter(|current| current.is_fresh(now)) {
            return Ok(fresh.chain.clone());
        }
        match make(&self.vault, now) {
            Ok(made) => Ok(current.insert(made).chain.clone()),
            Err(error) => match current.as_ref().filter(|current| current.is_valid(now)) {
                Some(old) => {
                    tracing::warn!(%error, "TLS identity not renewed yet");
                    Ok(old.chain.clone())
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
    if chain.is_empty() {
        return Err(VaultError::Unexpected);
    }
    Ok(Current {
        chain: chain.into_iter().map(Vec::from).collect(),
        made: now,
    })
}

/// Signs one handshake with the vault's key of a certificate.
#[derive(Debug)]
struct VaultSigner {
    vault: Vault,
    certificate: Vec<u8>,
    /// Why it did not.
    unsigned: Arc<OnceLock<VaultError>>,
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
                let _one_is_enough = self.unsigned.set(error);
                Err(HandshakeSignError)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_000_000;

    fn made(made: u64) -> Current {
        let chain = Vec::new();
        Current { chain, made }
    }

    #[test]
    fn an_identity_is_replaced_at_half_of_its_life_and_serves_to_its_end() {
        let current = made(NOW);
        for (at, fresh, valid) in [
            (NOW, true, true),
            (NOW + 1799, true, true),
            (NOW + 1800, false, true),
            (NOW + 3599, false, true),
            (NOW + 3600, false, false),
        ] {
            assert_eq!((current.is_fresh(at), current.is_valid(at)), (fresh, valid));
        }
    }

    /// The clock was years ahead when it was made, or is set back a little.
    #[test]
    fn an_identity_of_the_future_is_replaced_at_once() {
        let years = 5 * 365 * 86_400;
        let current = made(NOW + years);
        assert!(!current.is_fresh(NOW) && !current.is_valid(NOW));
        let current = made(NOW + 30);
        assert!(!current.is_fresh(NOW) && current.is_valid(NOW));
        // Ahead by years now: it has ended.
        assert!(!made(NOW).is_valid(NOW + years));
    }
}
