//! Typed key purposes, and what the card and the verifier ask of their vaults.
//!
//! There is no "sign these bytes": each operation names what is signed, the vault builds or
//! checks the bytes itself, so that a key of one purpose can never sign for another.

mod enclave_state;
mod history;
mod refusal;
mod reply;
mod request;
mod tpm;

pub use enclave_state::{StateKey, StateRecord};
pub use history::{KeyEvent, KeyEventKind, KeyKind};
pub use refusal::VaultRefusal;
pub use reply::{
    BegunSuccession, BootDescription, EnclaveChains, EnclaveState, KeyDescription, VaultReply,
};
pub use request::{NextKey, VaultRequest};
pub use tpm::{TpmCertified, TpmDescription, TpmObject, TpmQuote};

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

/// What a key is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Purpose {
    /// Certifies hosts, operators, the verifier's TLS and token keys. P-384.
    #[n(0)]
    FleetCa,
    /// A host's identity; certifies its short-lived keys. P-384.
    #[n(1)]
    CardIdentity,
    /// The verifier's TLS server key. P-384.
    #[n(2)]
    TlsServer,
    /// A host's TLS client key. P-384.
    #[n(3)]
    TlsClient,
    /// Signs attestation results (JWT, ES256). P-256.
    #[n(4)]
    Token,
}

/// Which back end holds the keys. Part of every certificate: a fallback is never silent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum VaultKind {
    /// Keys sealed in a file: development only.
    #[n(0)]
    Software,
    /// Keys of a TPM 2.0, those of the host bound to its registers.
    #[n(1)]
    Tpm2,
    /// Keys in a PKCS #11 token.
    #[n(2)]
    Pkcs11,
}

impl VaultKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Software, Self::Tpm2, Self::Pkcs11];

    /// The word in certificates (DICE TcbInfo `type`) and results.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Software => "development",
            Self::Tpm2 => "tpm2",
            Self::Pkcs11 => "pkcs11",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A certificate chain: DER certificates, leaf first, without the fleet CA.
pub type Chain = Vec<ByteVec>;
