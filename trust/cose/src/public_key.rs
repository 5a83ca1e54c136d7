//! Public keys: P-384 for everything but attestation results, which are signed with P-256.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest as hash};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_ASN1,
    ECDSA_P384_SHA384_FIXED, EcdsaVerificationAlgorithm, ParsedPublicKey, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

/// An elliptic curve.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Curve {
    /// NIST P-256, used with SHA-256.
    P256,
    /// NIST P-384, used with SHA-384.
    P384,
}

/// An ECDSA public key: a point that is on its curve.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    curve: Curve,
    /// Uncompressed (SEC 1 section 2.3.3): 4, x, y.
    point: Vec<u8>,
}

/// Bytes that are no public key of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// Another algorithm, curve or encoding.
    #[error("not a P-384 or P-256 key as an uncompressed point in a SubjectPublicKeyInfo")]
    Unsupported,
    /// The point is not on the curve.
    #[error("the public key is not a point of its curve")]
    NotOnCurve,
}

/// A signature that is not by the key over the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not by this key over these bytes")]
pub struct BadSignature;

/// A public key as a JSON Web Key (RFC 7518 section 6.2.1), nothing but its required members.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Jwk {
    // The members stand in the order in which RFC 7638 hashes them.
    /// `P-384` or `P-256`.
    pub crv: String,
    /// Always `EC`.
    pub kty: String,
    /// The x coordinate, base64url without padding.
    pub x: String,
    /// The y coordinate, base64url without padding.
    pub y: String,
}

impl Curve {
    /// Its name in JSON Web Keys.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
        }
    }

    const fn coordinate_len(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }

    /// The DER of a SubjectPublicKeyInfo (RFC 5480 section 2) up to the point.
    const fn spki_head(self) -> &'static [u8] {
        match self {
            Self::P256 => b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00",
            Self::P384 => b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00",
        }
    }

    fn raw_signatures(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED,
            Self::P384 => &ECDSA_P384_SHA384_FIXED,
        }
    }

    fn der_signatures(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1,
            Self::P384 => &ECDSA_P384_SHA384_ASN1,
        }
    }
}

impl PublicKey {
    /// Reads a DER SubjectPublicKeyInfo (RFC 5480); compressed points are refused.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, PublicKeyError> {
        [Curve::P384, Curve::P256]
            .into_iter()
            .find_map(|curve| Some((curve, der.strip_prefix(curve.spki_head())?)))
            .ok_or(PublicKeyError::Unsupported)
            .and_then(|(curve, point)| Self::from_point(curve, point))
    }

    /// Reads an uncompressed point (SEC 1 section 2.3.4).
    pub fn from_point(curve: Curve, point: &[u8]) -> Result<Self, PublicKeyError> {
        if point.len() != 1 + 2 * curve.coordinate_len() || point.first() != Some(&4) {
            return Err(PublicKeyError::Unsupported);
        }
        ParsedPublicKey::new(curve.raw_signatures(), point)
            .map_err(|_| PublicKeyError::NotOnCurve)?;
        Ok(Self {
            curve,
            point: point.to_vec(),
        })
    }

    /// Its curve.
    #[must_use]
    pub const fn curve(&self) -> Curve {
        self.curve
    }

    /// Its uncompressed point (SEC 1 section 2.3.3).
    #[must_use]
    pub fn point(&self) -> &[u8] {
        &self.point
    }

    /// Its DER SubjectPublicKeyInfo.
    #[must_use]
    pub fn spki_der(&self) -> Vec<u8> {
        [self.curve.spki_head(), &self.point].concat()
    }

    /// SHA-256 over its DER SubjectPublicKeyInfo: a card's key hashes to its card id.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        sha256(&self.spki_der())
    }

    /// Its JSON Web Key.
    #[must_use]
    pub fn jwk(&self) -> Jwk {
        let coordinates = self.point.get(1..).unwrap_or_default();
        let (x, y) = coordinates
            .split_at_checked(self.curve.coordinate_len())
            .unwrap_or_default();
        Jwk {
            crv: self.curve.name().into(),
            kty: "EC".into(),
            x: URL_SAFE_NO_PAD.encode(x),
            y: URL_SAFE_NO_PAD.encode(y),
        }
    }

    /// Its JWK thumbprint with SHA-256 (RFC 7638).
    #[must_use]
    pub fn thumbprint(&self) -> [u8; 32] {
        let Jwk { crv, kty, x, y } = self.jwk();
        sha256(format!(r#"{{"crv":"{crv}","kty":"{kty}","x":"{x}","y":"{y}"}}"#).as_bytes())
    }

    /// Checks an `r || s` signature (ES384 or ES256, RFC 9053 section 2.1, RFC 7518 section 3.4).
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        self.check(self.curve.raw_signatures(), message, signature)
    }

    /// Checks a DER signature (RFC 3279 section 2.2.3), as in certificates, CSRs and TLS.
    pub fn verify_der(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        self.check(self.curve.der_signatures(), message, signature)
    }

    fn check(
        &self,
        algorithm: &'static EcdsaVerificationAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        UnparsedPublicKey::new(algorithm, &self.point)
            .verify(message, signature)
            .map_err(|_| BadSignature)
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    // INVARIANT: SHA-256 is 32 bytes long, so that nothing is cut off or left at zero.
    for (to, from) in digest.iter_mut().zip(hash(&SHA256, bytes).as_ref()) {
        *to = *from;
    }
    digest
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "PublicKey({}, spki sha-256 {})",
            self.curve.name(),
            hex::encode(self.sha256())
        )
    }
}

#[cfg(test)]
mod tests;
