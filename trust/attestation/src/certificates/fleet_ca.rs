//! The trust anchor: the one CA of a fleet.

use std::fmt;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, TrustAnchor};

use super::contents::Contents;
use super::{ChainError, Usage};
use crate::cose::{Curve, PublicKey};
use crate::digest::sha256;

/// A fleet's CA: self-signed, P-384, allowed to certify. Whether to trust it is the caller's
/// decision; guests pin [`FleetCa::sha256`].
#[derive(Clone)]
pub struct FleetCa {
    der: Vec<u8>,
    name: Vec<u8>,
    public_key: PublicKey,
    not_before: u64,
    not_after: u64,
    anchor: TrustAnchor<'static>,
}

/// A certificate that cannot be a fleet's CA.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FleetCaError {
    /// It cannot be parsed.
    #[error("the fleet CA's certificate: {0}")]
    Malformed(ChainError),
    /// Its signature is not its own.
    #[error("the fleet CA's certificate is not signed by its own P-384 key with ecdsa-with-SHA384")]
    NotSelfSigned,
    /// It may not certify.
    #[error(
        "the certificate is not a CA's: basic constraints CA and key usage keyCertSign are due"
    )]
    NotACa,
}

impl FleetCa {
    /// Reads the CA's certificate from a file's contents: PEM (RFC 7468) or DER.
    pub fn from_pem_or_der(bytes: &[u8]) -> Result<Self, FleetCaError> {
        match CertificateDer::from_pem_slice(bytes) {
            Ok(certificate) => Self::from_der(&certificate),
            Err(_) => Self::from_der(bytes),
        }
    }

    /// Reads the CA's certificate (DER).
    pub fn from_der(der: &[u8]) -> Result<Self, FleetCaError> {
        let contents = Contents::read(der).map_err(FleetCaError::Malformed)?;
        let name = contents.name();
        contents
            .check_issuer(name, &contents.public_key)
            .map_err(|_| FleetCaError::NotSelfSigned)?;
        if contents.public_key.curve() != Curve::P384 {
            return Err(FleetCaError::NotSelfSigned);
        }
        if contents
            .certifies()
            .map_err(FleetCaError::Malformed)?
            .is_none()
        {
            return Err(FleetCaError::NotACa);
        }
        let anchor = webpki::anchor_from_trusted_cert(&CertificateDer::from(der))
            .map_err(|error| FleetCaError::Malformed(error.into()))?
            .to_owned();
        Ok(Self {
            der: der.to_vec(),
            name: name.to_vec(),
            not_before: contents.not_before,
            not_after: contents.not_after,
            public_key: contents.public_key,
            anchor,
        })
    }

    /// The certificate, DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 over the certificate's DER: what guests pin as `bartizan.anchor`.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        sha256(&self.der)
    }

    /// Its key.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// First and last second of its validity, since the Unix epoch.
    #[must_use]
    pub const fn validity(&self) -> (u64, u64) {
        (self.not_before, self.not_after)
    }

    /// For path validation.
    pub(super) const fn anchor(&self) -> &TrustAnchor<'static> {
        &self.anchor
    }

    /// Path validation takes an anchor's validity for granted; a fleet's CA ends all the same.
    pub(super) const fn check_time(&self, at: u64) -> Result<(), ChainError> {
        if at < self.not_before {
            return Err(ChainError::NotYetValid);
        }
        if at > self.not_after {
            Err(ChainError::Expired)
        } else {
            Ok(())
        }
    }

    /// Whether it issued `card` directly. Path validation refuses to look at a CA's certificate as
    /// the end of a path, so that a card's own is checked here.
    pub(super) fn check_issued(&self, card: &Contents<'_>, at: u64) -> Result<(), ChainError> {
        card.check_issuer(&self.name, &self.public_key)?;
        card.check_time(at)?;
        card.check_usage(Usage::Card)
    }
}

impl fmt::Debug for FleetCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FleetCa(sha-256 {})", hex::encode(self.sha256()))
    }
}
