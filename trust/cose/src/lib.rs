//! Signed messages: COSE_Sign1 (RFC 9052 section 4.2) in one strict shape.
//!
//! `18([protected, {}, payload, signature])`, tag 18 included. The protected header holds exactly
//! `alg` = ES384 (-35, RFC 9053), `typ` (16, RFC 9596) and, where there is one, `x5chain` (33,
//! RFC 9360), leaf first, without the fleet CA; in the types that name their key, in its place `kid` (4, RFC 9052
//! section 3.1), the SHA-256 over its SubjectPublicKeyInfo. External data is empty. One message has one
//! encoding: after parsing it is encoded again and compared, so that no other spelling is read.
//!
//! | attack | answer |
//! |---|---|
//! | a message of one type passed off as another | `typ` is protected and compared before anything else is used |
//! | another algorithm, or none | `alg` must be ES384; the key's curve is checked as well |
//! | unprotected, unknown, doubled or critical headers | the shape has no room for them |
//! | an announced size of gigabytes | everything borrows from the bytes at hand, whose size is bounded first |
//!
//! Beside them what they are made of: public keys ([`PublicKey`]) and the one encoding of payloads ([`cbor`]). A crate of its own,
//! so that the first process of a host, which verifies what it may start, links neither X.509 nor TLS.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod cbor;
mod message;
mod public_key;
mod wire;

pub use message::{CoseError, MessageType, Sign, SignError, Unverified, sign1, sign1_by_named_key};
pub use public_key::{BadSignature, Curve, Jwk, PublicKey, PublicKeyError};

/// Most certificates in a chain.
pub const MAX_CHAIN: usize = 4;

/// Largest certificate (DER) in bytes.
pub const MAX_CERTIFICATE: usize = 8 << 10;

#[cfg(test)]
mod test_key;
#[cfg(test)]
mod tests;
