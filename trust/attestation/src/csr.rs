//! Keys made by those who use them (measurers, guests, operators), and the requests to certify them.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, KeyPair,
};
use rcgen::{CertificateParams, DistinguishedName};
use x509_parser::prelude::{FromDer, X509CertificationRequest};
use zeroize::Zeroizing;

use crate::certificates::{is_ecdsa_with_sha384, read_public_key};
use crate::cose::{Curve, PublicKey, PublicKeyError, Sign, SignError};

/// Largest certification request in bytes.
pub const MAX_CSR: usize = 8 << 10;

/// A P-384 key pair held in memory; wiped when dropped.
pub struct EphemeralKey {
    pair: EcdsaKeyPair,
    public: PublicKey,
    pkcs8: Zeroizing<Vec<u8>>,
}

/// A key could not be made, read or certified.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The random number generator or the key generation failed.
    #[error("no key could be generated")]
    Generate,
    /// The bytes are no P-384 private key.
    #[error("not a P-384 private key in PKCS #8 (RFC 5208): {0}")]
    Pkcs8(#[from] aws_lc_rs::error::KeyRejected),
    /// The public half is unusable.
    #[error("{0}")]
    Public(#[from] PublicKeyError),
    /// The certification request could not be built.
    #[error("the certification request could not be built: {0}")]
    Csr(#[from] rcgen::Error),
}

/// A certification request was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// It is larger than [`MAX_CSR`].
    #[error("a certification request of {0} bytes exceeds the limit of 8192")]
    TooLarge(usize),
    /// It is no PKCS #10 request (RFC 2986), or something follows it.
    #[error("not a certification request in DER (RFC 2986)")]
    Malformed,
    /// Its key is not P-384.
    #[error("the certification request is not for a P-384 key")]
    WrongKey,
    /// It is not signed by its own key with ecdsa-with-SHA384: no proof of possession.
    #[error(
        "the certification request is not signed by the key that it is for (ecdsa-with-SHA384)"
    )]
    NoProof,
}

impl EphemeralKey {
    /// Makes a key.
    pub fn generate() -> Result<Self, KeyError> {
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &SystemRandom::new())
                .map_err(|_| KeyError::Generate)?;
        Self::from_pkcs8_der(pkcs8.as_ref())
    }

    /// Reads a key from its PKCS #8 DER (RFC 5208).
    pub fn from_pkcs8_der(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, pkcs8)?;
        let public = PublicKey::from_point(Curve::P384, pair.public_key().as_ref())?;
        Ok(Self {
            pair,
            public,
            pkcs8: Zeroizing::new(pkcs8.to_vec()),
        })
    }

    /// The private key as PKCS #8 DER. A secret: keep it in files of mode 0600, wipe copies.
    #[must_use]
    pub fn pkcs8_der(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.public.clone()
    }

    /// A PKCS #10 request (RFC 2986), DER: it proves possession and asks for nothing; whoever
    /// certifies the key decides what the certificate says.
    pub fn csr(&self) -> Result<Vec<u8>, KeyError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        Ok(params.serialize_request(self)?.der().to_vec())
    }

    /// A certificate of the key's own making, DER: it says nothing, and lets TLS show the key before anybody has certified it.
    pub fn self_signed(&self) -> Result<Vec<u8>, KeyError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        Ok(params.self_signed(self)?.der().to_vec())
    }

    /// Signs with ecdsa-with-SHA384, DER (RFC 3279 section 2.2.3): for TLS and CSRs.
    pub fn sign_der(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let pair = self.pair_for(&ECDSA_P384_SHA384_ASN1_SIGNING)?;
        signed(&pair, message)
    }

    fn pair_for(
        &self,
        algorithm: &'static EcdsaSigningAlgorithm,
    ) -> Result<EcdsaKeyPair, SignError> {
        EcdsaKeyPair::from_pkcs8(algorithm, &self.pkcs8).map_err(|_| SignError::Key)
    }
}

/// Checks a certification request's proof of possession; answers the key to be certified.
///
/// Whatever else it asks for (names, extensions) is ignored.
pub fn verify(csr: &[u8]) -> Result<PublicKey, CsrError> {
    if csr.len() > MAX_CSR {
        return Err(CsrError::TooLarge(csr.len()));
    }
    let Ok(([], request)) = X509CertificationRequest::from_der(csr) else {
        return Err(CsrError::Malformed);
    };
    let info = &request.certification_request_info;
    let key = read_public_key(&info.subject_pki)
        .filter(|key| key.curve() == Curve::P384)
        .ok_or(CsrError::WrongKey)?;
    if !is_ecdsa_with_sha384(&request.signature_algorithm) {
        return Err(CsrError::NoProof);
    }
    key.verify_der(info.raw, &request.signature_value.data)
        .map_err(|_| CsrError::NoProof)?;
    Ok(key)
}

fn signed(pair: &EcdsaKeyPair, message: &[u8]) -> Result<Vec<u8>, SignError> {
    let signature = pair
        .sign(&SystemRandom::new(), message)
        .map_err(|_| SignError::Key)?;
    Ok(signature.as_ref().to_vec())
}

impl Sign for EphemeralKey {
    fn sign(&self, to_be_signed: &[u8]) -> Result<Vec<u8>, SignError> {
        signed(&self.pair, to_be_signed)
    }
}

impl rcgen::PublicKeyData for EphemeralKey {
    fn der_bytes(&self) -> &[u8] {
        self.public.point()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P384_SHA384
    }
}

impl rcgen::SigningKey for EphemeralKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.sign_der(message)
            .map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

impl fmt::Debug for EphemeralKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EphemeralKey({:?})", self.public)
    }
}

#[cfg(test)]
mod tests;
