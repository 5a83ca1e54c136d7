//! The token keys: one signs, and all that are still valid are published, so that a result outlives
//! the rotation of the key that signed it.
//!
//! The vault is told which key shall sign, and told only of one that is published: a rotation that is
//! interrupted between the vault's key and its publication leaves the former key signing.

use std::sync::{Arc, PoisonError, RwLock};

use axum::http::StatusCode;
use bartizan_attestation::certificates::Usage;
use bartizan_attestation::cose::Jwk;
use bartizan_attestation::keys::{Purpose, VaultRefusal, VaultRequest};

use crate::anchors::Anchors;
use crate::clock::now_s;
use crate::problem::ProblemType;
use crate::rotation::{Rotates, until_half_life};
use crate::vault::{Vault, VaultError, plain};

/// The token keys of this verifier's vault.
#[derive(Debug)]
pub struct TokenKeys {
    vault: Vault,
    anchors: Arc<Anchors>,
    lifetime_s: u64,
    keys: RwLock<Arc<[TokenKey]>>,
    one_at_a_time: tokio::sync::Mutex<()>,
}

/// One token key's public side.
#[derive(Clone, Debug)]
pub struct TokenKey {
    /// Its chain, leaf first, without the fleet CA.
    pub chain: Vec<Vec<u8>>,
    /// Its public key.
    pub jwk: Jwk,
    /// SHA-256 over its DER SubjectPublicKeyInfo.
    pub id: [u8; 32],
    /// SHA-256 over its certificate: the `x5t#S256` of the results that it signed.
    pub sha256: [u8; 32],
    /// First second of its validity.
    pub not_before: u64,
    /// Last second of its validity.
    pub not_after: u64,
}

/// The token keys could not be read or replaced.
#[derive(Debug, thiserror::Error)]
pub enum TokenKeysError {
    /// The vault did not do it.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The vault shows no key that is valid now, or not the one that it made.
    #[error(
        "the vault shows no token key that is valid for this fleet CA; compare the clocks of the two"
    )]
    NoneValid,
}

impl TokenKeysError {
    const fn is_overlap(&self) -> bool {
        let Self::Vault(VaultError::Refused(refusal)) = self else {
            return false;
        };
        matches!(refusal, VaultRefusal::Overlap { .. })
    }
}

impl ProblemType for TokenKeysError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Vault(error) => error.kind(),
            Self::NoneValid => ("no-token-key", StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Vault(error) => error.retry_after_s(),
            Self::NoneValid => None,
        }
    }
}

impl TokenKeys {
    /// Reads the vault's token keys; has one made if there is none in the first half of its life. One in its second half
    /// is enough to begin with, where no other can be had: `keep_fresh` goes on trying.
    pub async fn open(
        vault: Vault,
        anchors: Arc<Anchors>,
        lifetime_s: u64,
    ) -> Result<Self, TokenKeysError> {
        let this = Self {
            vault,
            anchors,
            lifetime_s,
            keys: RwLock::new(Arc::new([])),
            one_at_a_time: tokio::sync::Mutex::default(),
        };
        this.read().await?;
        let fresh = this.published().first().is_some_and(|newest| {
            !until_half_life((newest.not_before, newest.not_after), now_s()).is_zero()
        });
        if !fresh && let Err(error) = this.replace().await {
            // One that the vault made and that does not count tells of clocks that differ.
            if this.published().is_empty() || matches!(error, TokenKeysError::NoneValid) {
                return Err(error);
            }
            tracing::warn!(%error, "token key not rotated; the former one signs on");
        }
        Ok(this)
    }

    /// Keys whose results may still be valid, newest first: those whose certificates are valid now.
    #[must_use]
    pub fn published(&self) -> Vec<TokenKey> {
        let keys = Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner));
        let now = now_s();
        keys.iter()
            .filter(|key| (key.not_before..=key.not_after).contains(&now))
            .cloned()
            .collect()
    }

    /// Has a result signed by the newest key that is published.
    pub async fn sign(&self, claims: String) -> Result<String, TokenKeysError> {
        match self.sign_once(claims.clone()).await {
            // It was revoked meanwhile: another one is published by now.
            Err(TokenKeysError::Vault(VaultError::Refused(VaultRefusal::NoKey { .. }))) => {
                self.sign_once(claims).await
            }
            signed => signed,
        }
    }

    async fn sign_once(&self, claims: String) -> Result<String, TokenKeysError> {
        let certificate = (self.published().into_iter())
            .find_map(|key| key.chain.into_iter().next())
            .ok_or(TokenKeysError::NoneValid)?;
        Ok(self.vault.sign_token(claims, certificate).await?)
    }

    /// Has a key destroyed, by its [`TokenKey::id`], and publishes it no more. The newest gives way to a new one first, or, where there
    /// are as many as may be, to the one before it.
    pub async fn revoke(&self, id: [u8; 32]) -> Result<(), TokenKeysError> {
        let published = self.published();
        if published.first().is_some_and(|newest| newest.id == id)
            && let Err(error) = self.replace().await
        {
            let full = TokenKeysError::is_overlap(&error) && published.len() > 1;
            if !full {
                return Err(error);
            }
        }
        let _turn = self.one_at_a_time.lock().await;
        // Before it is destroyed: nothing is asked of it that it cannot do any more.
        self.forget(&id);
        let revoked = self.vault.revoke(Purpose::Token, id).await;
        // Whatever was answered: a link that failed does not tell whether it is gone.
        let read = self.read().await;
        revoked?;
        read
    }

    fn forget(&self, id: &[u8; 32]) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let others = keys.iter().filter(|key| key.id != *id).cloned();
        *keys = others.collect();
    }

    /// Has a new key made and publishes it; the old ones stay published to their end.
    pub async fn replace(&self) -> Result<TokenKey, TokenKeysError> {
        let _turn = self.one_at_a_time.lock().await;
        let request = VaultRequest::RotateToken {
            lifetime_s: self.lifetime_s,
        };
        let made = self.vault.certificates(request).await;
        // Whatever was answered: a link that failed does not tell whether there is a new key.
        let read = self.read().await;
        let made = made?;
        read?;
        (self.published().into_iter())
            .find(|key| key.chain == made)
            .ok_or(TokenKeysError::NoneValid)
    }

    async fn read(&self) -> Result<(), TokenKeysError> {
        // The vault lists the newest last: of two that were made within one second, that one stays first.
        let chains: Vec<_> = (self.vault.describe().await?.keys.into_iter().rev())
            .filter(|key| key.purpose == Purpose::Token && !key.chain.is_empty())
            .map(|key| plain(key.chain))
            .collect();
        let mut keys = Vec::new();
        for chain in chains {
            keys.extend(self.verified(chain).await);
        }
        keys.sort_by_key(|key| std::cmp::Reverse((key.not_before, key.not_after)));
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys.into();
        Ok(())
    }

    async fn verified(&self, chain: Vec<Vec<u8>>) -> Option<TokenKey> {
        match self.anchors.issued(&chain, Usage::Token).await {
            Ok((_, certificate)) => Some(TokenKey {
                chain,
                jwk: certificate.public_key.jwk(),
                id: certificate.public_key.sha256(),
                sha256: certificate.sha256,
                not_before: certificate.not_before,
                not_after: certificate.not_after,
            }),
            Err(error) => {
                tracing::debug!(%error, "a token key of the vault is not published");
                None
            }
        }
    }
}

impl Rotates for TokenKeys {
    const NAME: &'static str = "token";
    type Error = TokenKeysError;

    fn validity(&self) -> (u64, u64) {
        self.published()
            .first()
            .map_or((0, 0), |newest| (newest.not_before, newest.not_after))
    }

    async fn rotate(&self) -> Result<(), TokenKeysError> {
        let key = self.replace().await?;
        tracing::info!(not_after = key.not_after, "token key rotated");
        Ok(())
    }
}
