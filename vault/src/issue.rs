//! Certificates: what each usage's says, built here from typed facts, signed by a key of the vault.

use std::sync::OnceLock;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use bartizan_attestation::boot::Sha384;
use bartizan_attestation::certificates::tcb_info::{self, TcbInfo};
use bartizan_attestation::certificates::{Subject, Usage};
use bartizan_attestation::cose::{Curve, PublicKey};
use bartizan_attestation::keys::{Purpose, VaultKind, VaultRefusal};
use bartizan_attestation::measurement::Digest;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, PublicKeyData, SanType,
    SignatureAlgorithm, SigningKey,
};
use time::OffsetDateTime;

use crate::backend::{Backend, Encoding, StoredKey};
use crate::vault::store;

/// Seconds by which certificates begin earlier, for clocks that are behind.
const BACKDATED_S: u64 = 60;

/// A key of the vault, as the issuer of a certificate.
pub(crate) struct IssuerKey<'a> {
    pub(crate) backend: &'a dyn Backend,
    pub(crate) purpose: Purpose,
    pub(crate) key: StoredKey<'a>,
    pub(crate) public: PublicKey,
    /// Why it did not sign, which the library's error cannot say.
    pub(crate) failed: &'a OnceLock<VaultRefusal>,
}

/// What a certificate shall say.
pub(crate) struct Certificate {
    pub(crate) usage: Usage,
    pub(crate) subject: Subject,
    /// For people.
    pub(crate) common_name: String,
    /// DNS names and IP addresses of a TLS server.
    pub(crate) names: Vec<String>,
    pub(crate) vault: VaultKind,
    pub(crate) launch_measurement: Option<Digest>,
    /// Of the boot of the host that issues.
    pub(crate) phases: Vec<Sha384>,
    /// Seconds since the Unix epoch.
    pub(crate) now: u64,
    pub(crate) lifetime_s: u64,
}

impl Certificate {
    /// The certificate for `key`, DER, and when it ends.
    pub(crate) fn issue(
        &self,
        key: &PublicKey,
        issuer_certificate: &[u8],
        issuer: IssuerKey<'_>,
    ) -> Result<(Vec<u8>, u64), VaultRefusal> {
        let not_after = self.now.saturating_add(self.lifetime_s);
        let mut params = self.params()?;
        params.not_before = instant(backdated(self.now))?;
        params.not_after = instant(not_after)?;
        let issuer =
            Issuer::from_ca_cert_der(&issuer_certificate.into(), issuer).map_err(refused)?;
        let certificate = params
            .signed_by(&Certified(key), &issuer)
            .map_err(refused)?;
        Ok((certificate.der().to_vec(), not_after))
    }

    fn params(&self) -> Result<CertificateParams, VaultRefusal> {
        let mut params = match self.usage {
            Usage::TlsServer => CertificateParams::new(self.names.clone()).map_err(refused)?,
            _ => CertificateParams::default(),
        };
        params.distinguished_name = named(&self.common_name);
        if let Some(uri) = self.subject.uri() {
            params.subject_alt_names = vec![SanType::URI(uri.try_into().map_err(refused)?)];
        }
        params.extended_key_usages = extended(self.usage.extended_key_usages());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if self.usage == Usage::Card {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        }
        if self.usage.names_vault() {
            let info = TcbInfo {
                vault: self.vault,
                launch_measurement: self.launch_measurement.clone(),
                phases: self.phases.clone(),
            };
            let info = info.encode().map_err(refused)?;
            params.custom_extensions = vec![CustomExtension::from_oid_content(tcb_info::OID, info)];
        }
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }
}

/// The fleet CA's own certificate, DER.
pub(crate) fn fleet_ca(
    name: &str,
    now: u64,
    lifetime_s: u64,
    key: &IssuerKey<'_>,
) -> Result<(Vec<u8>, u64), VaultRefusal> {
    let not_after = now.saturating_add(lifetime_s);
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = instant(backdated(now))?;
    params.not_after = instant(not_after)?;
    let certificate = params.self_signed(key).map_err(refused)?;
    Ok((certificate.der().to_vec(), not_after))
}

/// When a certificate that is made now begins.
pub(crate) const fn backdated(now: u64) -> u64 {
    now.saturating_sub(BACKDATED_S)
}

/// A cross-certificate (RFC 4210 section 4.4), DER: the CA of this name and key, certified by another one of its fleet; for these
/// extended key usages, or for all where there are none.
pub(crate) fn cross(
    name: &str,
    key: &PublicKey,
    purposes: Vec<&[u64]>,
    (not_before, not_after): (u64, u64),
    issuer_certificate: &[u8],
    issuer: IssuerKey<'_>,
) -> Result<Vec<u8>, VaultRefusal> {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = instant(not_before)?;
    params.not_after = instant(not_after)?;
    params.extended_key_usages = extended(purposes);
    params.use_authority_key_identifier_extension = true;
    // Not the one that is made of the key: all of a fleet's CAs have one name, and the key's own certificate has that.
    let mut serial = [0; 16];
    let filled = SystemRandom::new().fill(&mut serial);
    filled.map_err(|_| refused("the kernel's random number generator failed"))?;
    params.serial_number = Some(serial.to_vec().into());
    let issuer = Issuer::from_ca_cert_der(&issuer_certificate.into(), issuer).map_err(refused)?;
    let certificate = params
        .signed_by(&Certified(key), &issuer)
        .map_err(refused)?;
    Ok(certificate.der().to_vec())
}

impl PublicKeyData for IssuerKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.public.point()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        algorithm(self.public.curve())
    }
}

impl SigningKey for IssuerKey<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.backend.sign(self.purpose, &self.key, message, Encoding::Der).map_err(|error| {
            tracing::error!(%error, purpose = ?self.purpose, "a certificate could not be signed");
            self.failed.get_or_init(|| store(error));
            rcgen::Error::RemoteKeyError
        })
    }
}

/// The key that a certificate is for.
struct Certified<'a>(&'a PublicKey);

impl PublicKeyData for Certified<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.point()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        algorithm(self.0.curve())
    }
}

const fn algorithm(curve: Curve) -> &'static SignatureAlgorithm {
    match curve {
        Curve::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        Curve::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
    }
}

fn extended(purposes: Vec<&[u64]>) -> Vec<ExtendedKeyUsagePurpose> {
    let purposes = purposes.into_iter();
    purposes
        .map(|arcs| ExtendedKeyUsagePurpose::Other(arcs.to_vec()))
        .collect()
}

fn named(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Bartizan");
    name.push(DnType::CommonName, common);
    name
}

fn instant(unix_s: u64) -> Result<OffsetDateTime, VaultRefusal> {
    let seconds = i64::try_from(unix_s).map_err(refused)?;
    OffsetDateTime::from_unix_timestamp(seconds).map_err(refused)
}

pub(crate) fn refused(error: impl std::fmt::Display) -> VaultRefusal {
    VaultRefusal::NotSignable(error.to_string())
}
