//! Certificates of endorsement keys (TCG EK Credential Profile 2.5), and the makers who issue them.

use std::time::Duration;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey as Parsed;

use super::public_area::{AsymmetricKey, PublicArea};
use crate::cose::PublicKey;
use crate::digest::sha256;

/// Largest certificate in bytes, with what follows it in the TPM's memory.
const MAX_LEN: usize = 4096;
/// Most certificates of makers.
const MAX_MAKERS: usize = 256;
/// `tcg-kp-EKCertificate` (2.23.133.8.1), DER contents.
const EK_CERTIFICATE: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x01];

/// The CA certificates of TPM makers whose word is taken.
#[derive(Clone, Debug)]
pub struct Makers(Vec<TrustAnchor<'static>>);

/// Text that names no makers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MakersError {
    /// Not PEM, or not of certificates.
    #[error("not CA certificates of TPM makers in PEM (RFC 7468)")]
    Malformed,
    /// Too many.
    #[error("more than {MAX_MAKERS} CA certificates")]
    TooMany,
}

impl Makers {
    /// Reads PEM: roots, and intermediate CAs that are trusted by themselves.
    pub fn from_pem(pem: &[u8]) -> Result<Self, MakersError> {
        let mut anchors = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| MakersError::Malformed)?;
            if anchors.len() == MAX_MAKERS {
                return Err(MakersError::TooMany);
            }
            let anchor = webpki::anchor_from_trusted_cert(&certificate);
            anchors.push(anchor.map_err(|_| MakersError::Malformed)?.to_owned());
        }
        match anchors.is_empty() {
            true => Err(MakersError::Malformed),
            false => Ok(Self(anchors)),
        }
    }
}

/// An endorsement key that a maker vouches for. Made by [`EndorsementCertificate::verify`] only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndorsementCertificate {
    area: PublicArea,
    sha256: [u8; 32],
}

/// An endorsement key is refused.
#[derive(Debug, thiserror::Error)]
pub enum EndorsementError {
    /// No certificate.
    #[error("the TPM's endorsement certificate is malformed")]
    Malformed,
    /// Nobody known has issued it.
    #[error("no TPM maker of the configuration vouches for this endorsement key: {0}")]
    Unknown(#[source] webpki::Error),
    /// It is another key's.
    #[error("the endorsement certificate is of another key than the TPM's endorsement key")]
    OtherKey,
}

impl EndorsementCertificate {
    /// Verifies that one of `makers` has certified the key of `area`, at a time in seconds since the Unix epoch.
    /// `certificate`: DER, with whatever follows it in the TPM's memory.
    pub fn verify(
        certificate: &[u8],
        area: PublicArea,
        makers: &Makers,
        at_unix_s: u64,
    ) -> Result<Self, EndorsementError> {
        if certificate.len() > MAX_LEN {
            return Err(EndorsementError::Malformed);
        }
        let (rest, parsed) =
            X509Certificate::from_der(certificate).map_err(|_| EndorsementError::Malformed)?;
        let length = certificate.len().saturating_sub(rest.len());
        let der = certificate.get(..length).unwrap_or_default();
        let der = CertificateDer::from(der);
        let leaf = EndEntityCert::try_from(&der).map_err(EndorsementError::Unknown)?;
        leaf.verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &makers.0,
            &[],
            UnixTime::since_unix_epoch(Duration::from_secs(at_unix_s)),
            KeyUsage::required_if_present(EK_CERTIFICATE),
            None,
            None,
        )
        .map_err(EndorsementError::Unknown)?;
        if is_key_of(&parsed, area.key()) {
            let sha256 = sha256(&area.name());
            Ok(Self { area, sha256 })
        } else {
            Err(EndorsementError::OtherKey)
        }
    }

    /// The endorsement key's public area.
    #[must_use]
    pub const fn area(&self) -> &PublicArea {
        &self.area
    }

    /// SHA-256 over the endorsement key's name: which TPM it is.
    #[must_use]
    pub const fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }
}

fn is_key_of(certificate: &X509Certificate<'_>, key: &AsymmetricKey) -> bool {
    let certified = &certificate.tbs_certificate.subject_pki;
    match key {
        AsymmetricKey::Ec(key) => {
            PublicKey::from_spki_der(certified.raw).is_ok_and(|certified| certified == *key)
        }
        AsymmetricKey::Rsa { modulus, exponent } => match certified.parsed() {
            Ok(Parsed::RSA(rsa)) => {
                let certified = rsa.modulus.iter().skip_while(|byte| **byte == 0);
                certified.eq(modulus.iter())
                    && rsa.try_exponent().is_ok_and(|e| e == u64::from(*exponent))
            }
            _ => false,
        },
    }
}
