//! What a back end must do: make keys that it alone can use.
//!
//! A key is known by an opaque blob, whatever the back end needs to find or load it again: a sealed private key, a
//! TPM's key context, a token's object id. The blob is stored by the [`crate::Keyring`] and is no secret by itself.

use bartizan_attestation::boot::Sha384;
use bartizan_attestation::cose::{Curve, PublicKey};
use bartizan_attestation::keys::{Purpose, VaultKind};

use crate::registers::{Register, RegisterValues};

/// A back end. Its keys cannot be read out through it.
pub trait Backend: Send + Sync {
    /// Which one it is: part of every certificate.
    fn kind(&self) -> VaultKind;

    /// Makes a key on the curve of its purpose.
    fn generate(&self, purpose: Purpose) -> Result<NewKey, BackendError>;

    /// Signs with ECDSA and the hash of the purpose's curve (SHA-384 for P-384, SHA-256 for P-256).
    fn sign(
        &self,
        purpose: Purpose,
        key: &StoredKey<'_>,
        message: &[u8],
        encoding: Encoding,
    ) -> Result<Vec<u8>, BackendError>;

    /// A tag over the key store by a secret that only this back end has: HMAC-SHA-256, as TPM2_HMAC and PKCS #11's
    /// C_Sign make it too.
    fn authenticate(&self, store: &[u8]) -> Result<[u8; 32], BackendError>;

    /// `new = SHA-384(old || digest)`. There is no way back before the machine (TPM) or the process (others) starts anew.
    fn extend(&self, register: Register, digest: &Sha384) -> Result<(), BackendError>;

    /// What the registers hold.
    fn registers(&self) -> Result<RegisterValues, BackendError>;
}

/// A key that was just made.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Its public half.
    pub public: PublicKey,
    /// What the back end needs to use it again.
    pub blob: Vec<u8>,
}

/// A key as the keyring has it.
#[derive(Clone, Copy, Debug)]
pub struct StoredKey<'a> {
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub id: &'a [u8; 32],
    /// The back end's blob.
    pub blob: &'a [u8],
}

/// How a signature is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    /// `r || s`, each as long as the curve's order: COSE, JOSE.
    Fixed,
    /// DER (RFC 3279 section 2.2.3): X.509, TLS.
    Der,
}

/// A back end failed.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The random number generator or key generation failed.
    #[error("no key could be generated")]
    Generate,
    /// The blob was altered, belongs to another key or purpose, or the root key is another one.
    #[error(
        "the sealed {purpose:?} key cannot be opened: it was altered, or the root key is another one"
    )]
    Sealed {
        /// Which key.
        purpose: Purpose,
    },
    /// The signature failed.
    #[error("signing failed")]
    Sign,
    /// The store's tag could not be made.
    #[error("the key store's tag could not be made")]
    Authenticate,
}

/// The curve of a purpose's keys.
pub const fn curve(purpose: Purpose) -> Curve {
    match purpose {
        Purpose::Token => Curve::P256,
        Purpose::FleetCa | Purpose::CardIdentity | Purpose::TlsServer | Purpose::TlsClient => {
            Curve::P384
        }
    }
}
