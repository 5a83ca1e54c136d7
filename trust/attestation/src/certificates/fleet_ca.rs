//! The trust anchor: a fleet's CA, and the other CAs of that fleet that it leads to.

use std::fmt;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use super::contents::Contents;
use super::{ChainError, Usage};
use crate::cose::{Curve, PublicKey};
use crate::digest::sha256;

/// A fleet's CA, trusted here: self-signed, P-384, allowed to certify. Whether to trust it is the caller's
/// decision; guests pin [`FleetCa::sha256`].
///
/// What is pinned is this one certificate. What it leads to (other CAs of the fleet, by cross-certificates) is derived from it,
/// by [`FleetCa::with_lineage`] alone, and never changes what is pinned.
#[derive(Clone)]
pub struct FleetCa {
    pinned: Authority,
    /// The others that it leads to, valid as long as the way to them is.
    linked: Vec<Authority>,
}

/// A CA of a fleet.
#[derive(Clone)]
pub(super) struct Authority {
    pub(super) der: Vec<u8>,
    pub(super) name: Vec<u8>,
    pub(super) public_key: PublicKey,
    not_before: u64,
    not_after: u64,
    /// Whether the pinned one took its place.
    former: bool,
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
        Ok(Self {
            pinned: Authority::read(der)?,
            linked: Vec::new(),
        })
    }

    /// The pinned certificate, DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.pinned.der
    }

    /// SHA-256 over the pinned certificate's DER: what guests pin as `bartizan.anchor`.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        sha256(&self.pinned.der)
    }

    /// Its key.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.pinned.public_key
    }

    /// First and last second of its validity, since the Unix epoch.
    #[must_use]
    pub const fn validity(&self) -> (u64, u64) {
        self.pinned.validity()
    }

    /// Its common name.
    #[must_use]
    pub fn common_name(&self) -> Option<String> {
        let (_, name) = X509Name::from_der(&self.pinned.name).ok()?;
        let common = name.iter_common_name().next()?.as_str().ok()?;
        Some(common.to_owned())
    }

    /// The others that it leads to: SHA-256 over each one's certificate, and the first and last second in which it does, since the
    /// Unix epoch.
    pub fn linked(&self) -> impl Iterator<Item = ([u8; 32], (u64, u64))> {
        let linked = self.linked.iter();
        linked.map(|ca| (sha256(&ca.der), ca.validity()))
    }

    /// The same without what it leads to: who was certified by it itself, and not by another CA of the fleet.
    #[must_use]
    pub fn alone(&self) -> Self {
        self.linked_to(Vec::new())
    }

    /// The certificate (DER) of the CA with this SHA-256, in lower-case hexadecimal: of the pinned one, or of one that it leads to at
    /// that time, in seconds since the Unix epoch.
    #[must_use]
    pub fn named(&self, sha256_hex: &str, at_unix_s: u64) -> Option<&[u8]> {
        self.known()
            .filter(|ca| hex::encode(sha256(&ca.der)) == sha256_hex)
            .find(|ca| ca.check_time(at_unix_s).is_ok())
            .map(|ca| ca.der.as_slice())
    }

    pub(super) fn linked_to(&self, linked: Vec<Authority>) -> Self {
        Self {
            pinned: self.pinned.clone(),
            linked,
        }
    }

    pub(super) const fn pinned(&self) -> &Authority {
        &self.pinned
    }

    /// Those before the pinned one, the next to it first.
    pub(super) fn former(&self) -> impl Iterator<Item = &Authority> {
        self.linked.iter().filter(|ca| ca.former)
    }

    /// Those after it, the next to it first.
    pub(super) fn later(&self) -> impl Iterator<Item = &Authority> {
        self.linked.iter().filter(|ca| !ca.former)
    }

    /// The pinned one, then those that it leads to.
    pub(super) fn known(&self) -> impl Iterator<Item = &Authority> {
        std::iter::once(&self.pinned).chain(&self.linked)
    }
}

impl Authority {
    pub(super) fn read(der: &[u8]) -> Result<Self, FleetCaError> {
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
            former: false,
            anchor,
        })
    }

    pub(super) const fn validity(&self) -> (u64, u64) {
        (self.not_before, self.not_after)
    }

    /// The same, for a time that is no longer than that.
    pub(super) fn valid_within(self, (not_before, not_after): (u64, u64)) -> Self {
        Self {
            not_before: self.not_before.max(not_before),
            not_after: self.not_after.min(not_after),
            ..self
        }
    }

    /// The same, whose place the pinned one took.
    pub(super) fn superseded(self) -> Self {
        Self {
            former: true,
            ..self
        }
    }

    /// Whether it is believed for what it certified for that usage.
    pub(super) const fn is_believed_for(&self, usage: Usage) -> bool {
        !self.former || usage.outlasts_its_ca()
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
        self.check_end(at)
    }

    pub(super) const fn check_end(&self, at: u64) -> Result<(), ChainError> {
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
        let (sha256, linked) = (hex::encode(self.sha256()), self.linked.len());
        write!(f, "FleetCa(sha-256 {sha256}, linked to {linked})")
    }
}
