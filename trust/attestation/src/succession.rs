//! Succession: the card identity key that a host has names the one that comes after it, so that the host stays who it is.
//!
//! The message is a COSE_Sign1 by the present key, its certificate in `x5chain`; the payload is the next key's certification
//! request, which proves possession of that one. A renewal of the certificate is the same, with the key as its own successor:
//! there is one way to a certificate after the first.
//!
//! ```text
//!  host's vault ── succession by key 1 ──► verifier ──► verifier's vault ── key 2 is the same card ──┐
//!     └ key 1 signs until key 2's certificate is installed; then it is destroyed  ◄──────────────────┘
//! ```
//!
//! | attack | answer |
//! |---|---|
//! | a verifier that was taken over gives a host's identity to a key of its own | its vault wants the present key's signature |
//! | a key that the host does not have is named, to shut the host out | the request proves possession; the host's vault makes it |
//! | the certificate of another card, or of another fleet | the chain is in the protected header, and its key signs |
//! | another message by that key passed off as this one | the message type is protected |
//! | a succession of before, sent again, to bring a key back | the verifier keeps which keys have been succeeded, and by which |
//! | a key that was stolen names its own successor | is no different from the host, until that names another: then both are refused |

#[cfg(test)]
mod tests;

use minicbor::{Decode, Encode};

use crate::cbor;
use crate::certificates::{ChainError, FleetCa, Usage, VerifiedCertificate, verify_chain};
use crate::cose::{CoseError, MessageType, PublicKey, Sign, SignError, Unverified, sign1};
use crate::csr::{self, CsrError};
use crate::identity::CardId;

/// What is signed.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Successor {
    /// Always [`Successor::VERSION`].
    #[n(0)]
    pub version: u32,
    /// The next key's certification request (PKCS #10, DER), at most [`csr::MAX_CSR`] bytes.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub csr: Vec<u8>,
}

/// A succession that was verified. Made by [`verify`] only.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Succession {
    /// The card.
    pub card: CardId,
    /// The certificate of the key that signed.
    pub present: VerifiedCertificate,
    /// The key that comes after it, or the same.
    pub next: PublicKey,
}

/// A succession was refused.
#[derive(Debug, thiserror::Error)]
pub enum SuccessionError {
    /// It is no message of this type, or its signature is not by the key of its certificate.
    #[error("the succession is refused: {0}")]
    Message(#[from] CoseError),
    /// Its chain is no card's of this fleet, or is not valid now.
    #[error("the chain of the succession is refused: {0}")]
    Chain(#[from] ChainError),
    /// Its payload names no successor.
    #[error("the succession is malformed: {0}")]
    Malformed(String),
    /// It is of a version that this program does not speak.
    #[error("a succession of version {0}; this program speaks {version}", version = Successor::VERSION)]
    Version(u32),
    /// The next key is not proved.
    #[error("the next card identity key: {0}")]
    Csr(#[from] CsrError),
}

impl Successor {
    /// The version that this crate speaks.
    pub const VERSION: u32 = 1;
    /// Largest encoded payload in bytes.
    pub const MAX_LEN: usize = csr::MAX_CSR + 64;

    /// Names the key of a certification request.
    #[must_use]
    pub const fn new(csr: Vec<u8>) -> Self {
        let version = Self::VERSION;
        Self { version, csr }
    }

    /// Reads a payload; its certification request is not looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, SuccessionError> {
        if bytes.len() > Self::MAX_LEN {
            let size = bytes.len();
            return Err(SuccessionError::Malformed(format!("it has {size} bytes")));
        }
        let successor: Self = cbor::decode_strict(bytes)
            .map_err(|error| SuccessionError::Malformed(error.to_string()))?;
        if successor.version == Self::VERSION {
            Ok(successor)
        } else {
            Err(SuccessionError::Version(successor.version))
        }
    }

    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Signs it with the present card identity key; `chain`: the chain of that one, leaf first.
    pub fn sign(&self, chain: &[Vec<u8>], key: &impl Sign) -> Result<Vec<u8>, SignError> {
        sign1(MessageType::Succession, &self.encode(), chain, key)
    }
}

impl Succession {
    /// Whether the key stays, and its certificate alone is renewed.
    #[must_use]
    pub fn is_renewal(&self) -> bool {
        self.next == self.present.public_key
    }
}

/// Verifies a signed succession. `now_s`: seconds since the Unix epoch. Whether the card is revoked, and whether the key that signed
/// has been succeeded before, is for the caller to check.
pub fn verify(signed: &[u8], ca: &FleetCa, now_s: u64) -> Result<Succession, SuccessionError> {
    let message = Unverified::parse(signed, MessageType::Succession)?;
    let present = verify_chain(message.chain(), ca, now_s, Usage::Card)?;
    let successor = Successor::decode(&message.verify(&present.public_key)?)?;
    let next = csr::verify(&successor.csr)?;
    // INVARIANT: a card's certificate names its card.
    let card = present.card.ok_or(ChainError::AlternativeName)?;
    Ok(Succession {
        card,
        present,
        next,
    })
}
