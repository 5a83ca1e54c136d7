//! What a back end must do: make keys that it alone can use.
//!
//! A key is known by an opaque blob, whatever the back end needs to find or load it again: a sealed private key, a
//! TPM's key context, a token's object id. The blob is stored by the [`crate::Keyring`] and is no secret by itself.

mod sealing;

use std::collections::BTreeMap;

use bartizan_attestation::boot::Sha384;
use bartizan_attestation::cose::{Curve, PublicKey};
use bartizan_attestation::keys::{Purpose, TpmCertified, TpmDescription, VaultKind};

use crate::registers::{Register, RegisterValues};
use crate::software::RootKeyError;
pub use sealing::{Generation, NextSealing};

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
    /// C_Sign make it too. Over a label that no store begins with it is a key.
    fn authenticate(&self, store: &[u8]) -> Result<[u8; 32], BackendError>;

    /// Makes the sealing key of a new store, where it is not there already.
    fn begin_sealing(&self, generation: Generation) -> Result<(), BackendError> {
        self.resume_sealing(generation);
        Ok(())
    }

    /// The store that is opened is sealed by this key.
    fn resume_sealing(&self, generation: Generation) {
        let _unused = generation;
    }

    /// Makes another sealing key.
    fn next_sealing(
        &self,
        generation: Generation,
    ) -> Result<Box<dyn NextSealing + '_>, BackendError>;

    /// Ends a key that no record names any more: forgets what was kept of it, and deletes it from the token that holds it.
    fn destroy(&self, purpose: Purpose, key: &StoredKey<'_>) -> Result<(), BackendError>;

    /// `new = SHA-384(old || digest)`. There is no way back before the machine (TPM) or the process (others) starts anew.
    fn extend(&self, register: Register, digest: &Sha384) -> Result<(), BackendError>;

    /// What the registers hold.
    fn registers(&self) -> Result<RegisterValues, BackendError>;

    /// What the TPM shows of itself and of this key; none where keys are in no TPM.
    fn describe_tpm(
        &self,
        purpose: Purpose,
        key: &StoredKey<'_>,
    ) -> Result<Option<TpmDescription>, BackendError> {
        let _unused = (purpose, key);
        Ok(None)
    }

    /// Has the TPM open a secret that is meant for one of its objects; none where keys are in no TPM.
    fn activate(
        &self,
        object: Activated<'_>,
        credential: &[u8],
        secret: &[u8],
    ) -> Result<Option<Vec<u8>>, BackendError> {
        let _unused = (object, credential, secret);
        Ok(None)
    }

    /// Has the TPM's attestation key say that the TPM holds this key, for a nonce of at most [`Quote::MAX_NONCE`] bytes; none where keys
    /// are in no TPM.
    fn certify(
        &self,
        purpose: Purpose,
        key: &StoredKey<'_>,
        nonce: &[u8],
    ) -> Result<Option<TpmCertified>, BackendError> {
        let _unused = (purpose, key, nonce);
        Ok(None)
    }

    /// The registers, signed by the device that holds them; none where they are this process's own word.
    /// The nonce has at most [`Quote::MAX_NONCE`] bytes.
    fn quote(&self, nonce: &[u8]) -> Result<Option<Quote>, BackendError> {
        let _unused = nonce;
        Ok(None)
    }
}

/// The object of a TPM that a secret is meant for.
#[derive(Clone, Copy, Debug)]
pub enum Activated<'a> {
    /// A key of the keyring's.
    Key(Purpose, StoredKey<'a>),
    /// The one that signs quotes.
    Attestation,
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

/// What a TPM says of its registers. Verified by tpm2-tools, too: `tpm2_checkquote -u public -m attested -s signature`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quote {
    /// TPMS_ATTEST: the nonce, the PCRs' digest, clock and resets.
    pub attested: Vec<u8>,
    /// TPMT_SIGNATURE over it: ECDSA, SHA-384.
    pub signature: Vec<u8>,
    /// TPM2B_PUBLIC of the attestation key: P-384, restricted.
    pub public: Vec<u8>,
    /// What the quoted PCRs held.
    pub pcrs: BTreeMap<u8, Sha384>,
}

impl Quote {
    /// Longest nonce in bytes.
    pub const MAX_NONCE: usize = 64;
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
    /// A new sealing key could not be made or kept.
    #[error("no other sealing key: {0}")]
    Sealing(#[source] RootKeyError),
    /// The token has no key for the store's tag, or several.
    #[error(
        "the token has not exactly one key for the key store's tag; restore token and store from one time"
    )]
    StoreKey,
    /// The token would give the key away.
    #[error(
        "the token's {purpose:?} key can be read out or used for more than signing; destroy it"
    )]
    Exposed {
        /// Which key.
        purpose: Purpose,
    },
    /// The token would give the key of the store's tag away.
    #[error("the token's key for the key store's tag can be read out; destroy it, and the store")]
    ExposedStoreKey,
    /// The PCRs hold other values than when the key was made.
    #[error(
        "the {purpose:?} key stays shut: this boot's PCRs {pcrs:?} (SHA-384) are not those that it was made under"
    )]
    WrongBoot {
        /// Which key.
        purpose: Purpose,
        /// The PCRs that it is bound to.
        pcrs: Vec<u8>,
    },
    /// The TPM does not keep SHA-384 PCRs.
    #[error(
        "the TPM has no SHA-384 bank with PCRs {pcrs:?}; run `tpm2_pcrallocate sha384:all` and start the machine anew"
    )]
    NoBank {
        /// The PCRs that are needed.
        pcrs: Vec<u8>,
    },
    /// A nonce that a quote cannot carry.
    #[error("a quote carries a nonce of 1 to {max} bytes, not {length}", max = Quote::MAX_NONCE)]
    Nonce {
        /// Its length.
        length: usize,
    },
    /// The device is not there, or was lost and could not be found again.
    #[error("the {device} is away: {source}")]
    Away {
        /// Which.
        device: Device,
        /// Why.
        source: DeviceError,
    },
    /// The device refused.
    #[error("the {device} refused: {source}")]
    Refused {
        /// Which.
        device: Device,
        /// Why.
        source: DeviceError,
    },
}

/// What holds the keys, where it is no file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Device {
    /// A TPM 2.0.
    Tpm,
    /// A PKCS #11 token.
    Token,
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tpm => "TPM",
            Self::Token => "PKCS #11 token",
        })
    }
}

/// What a device or its library said.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The TPM, or the way to it.
    #[error("{0}{code}", code = code(.0))]
    Tpm(#[from] tss_esapi::Error),
    /// The token, or its module.
    #[error(transparent)]
    Token(#[from] cryptoki::error::Error),
    /// No token has the configured label and serial number, or several have.
    #[error("{found} tokens have the configured label and serial number; exactly one must")]
    Tokens {
        /// How many.
        found: usize,
    },
    /// The token did not take the PIN. It is not tried again, which would lock the token.
    #[error("the token did not take the PIN; correct it and start the vault anew")]
    Pin,
    /// It answered with something else than was asked for.
    #[error("it answered with something else than was asked for")]
    Answer,
}

/// The number of a response code that has no words: those of the libraries between us and the TPM.
fn code(error: &tss_esapi::Error) -> String {
    use tss_esapi::constants::response_code::Tss2ResponseCode::FormatZero;
    match error {
        tss_esapi::Error::Tss2Error(FormatZero(code)) => format!(" ({code})"),
        _ => String::new(),
    }
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

/// A purpose's name, for what binds a key to it.
pub(crate) const fn name(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::FleetCa => "bartizan-vault/1/fleet-ca",
        Purpose::CardIdentity => "bartizan-vault/1/card-identity",
        Purpose::TlsServer => "bartizan-vault/1/tls-server",
        Purpose::TlsClient => "bartizan-vault/1/tls-client",
        Purpose::Token => "bartizan-vault/1/token",
    }
}
