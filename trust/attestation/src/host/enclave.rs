//! Enclave → card, inside the TLS link between the two. The card opens that link, the enclave asks.

use minicbor::{Decode, Encode};

use super::CardRefusal;
use crate::keys::EnclaveChains;

/// Largest frame either way, in bytes.
pub const ENCLAVE_FRAME: usize = 64 << 10;

/// What the enclave asks its card.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum ForCard {
    /// Certify the keys that the enclave made in itself; again, before the certificates end. The link shows possession of the TLS
    /// key, its request too. Answer: [`FromCard::Certified`].
    #[n(0)]
    Certify {
        /// Of the TLS key: PKCS#10, DER.
        #[cbor(n(0), with = "minicbor::bytes")]
        tls: Vec<u8>,
        /// Of the evidence key: PKCS#10, DER.
        #[cbor(n(1), with = "minicbor::bytes")]
        evidence: Vec<u8>,
    },
}

/// What the card answers.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum FromCard {
    /// The certificates.
    #[n(0)]
    Certified(#[n(0)] EnclaveChains),
    /// Refused.
    #[n(1)]
    Refused(#[n(0)] CardRefusal),
}
