//! Keys with a known private half.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::result::{compact, signing_input};

/// PKCS #8 (RFC 5208) around an ECPrivateKey (RFC 5915) without its public half, up to the private number.
const P384: &[u8] =
    b"\x30\x4e\x02\x01\x00\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\
    \x04\x37\x30\x35\x02\x01\x01\x04\x30";
const P256: &[u8] = b"\x30\x41\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\
    \x01\x07\x04\x27\x30\x25\x02\x01\x01\x04\x20";

/// The P-384 key whose private number is `seed` in every byte.
pub(super) fn p384(seed: u8) -> EphemeralKey {
    let pkcs8 = [P384, &[seed; 48]].concat();
    EphemeralKey::from_pkcs8_der(&pkcs8).expect("a private number in range is a key")
}

/// A P-256 key that signs attestation results.
pub struct TokenKey(EcdsaKeyPair);

impl TokenKey {
    pub(super) fn new(seed: u8) -> Self {
        let pkcs8 = [P256, &[seed; 32]].concat();
        Self(
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8)
                .expect("a private number in range is a key"),
        )
    }

    /// A token over these claims, whatever they are; `certificate` (DER) is named in its header.
    #[must_use]
    pub fn token(&self, certificate: &[u8], claims: &str) -> String {
        self.sign(&signing_input(certificate, claims))
    }

    /// A token whose first two parts are `signed`, whatever they are.
    #[must_use]
    pub fn sign(&self, signed: &str) -> String {
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes());
        compact(signed, signature.expect("the key signs").as_ref())
    }
}

impl rcgen::PublicKeyData for TokenKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}
