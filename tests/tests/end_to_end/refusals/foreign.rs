//! Another fleet, complete with its CA, whose certificates are what this fleet's look like.

use anyhow::Result;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use bartizan_attestation::certificates::tcb_info::{self, TcbInfo};
use bartizan_attestation::certificates::{FleetCa, Subject, Usage};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::identity::CardId;
use bartizan_attestation::keys::VaultKind;
use bartizan_attestation::measurement::Digest;
use bartizan_attestation::result::{compact, signing_input};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, PublicKeyData, SanType,
    SignatureAlgorithm,
};

use crate::compromised::Credential;

/// The fleet.
pub(super) struct Fleet {
    pub(super) ca: FleetCa,
    issuer: Issuer<'static, EphemeralKey>,
}

/// Its verifier: token key and certificate.
pub(super) struct Verifier {
    key: EcdsaKeyPair,
    certificate: Vec<u8>,
}

/// One of its cards.
pub(super) struct Card {
    certificate: Vec<u8>,
    issuer: Issuer<'static, EphemeralKey>,
}

impl Fleet {
    /// Founds it.
    pub(super) fn founded() -> Result<Self> {
        let key = EphemeralKey::generate()?;
        let mut params = named("demo fleet");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Ok(Self {
            ca: FleetCa::from_der(params.self_signed(&key)?.der())?,
            issuer: Issuer::new(params, key),
        })
    }

    /// A verifier.
    pub(super) fn verifier(&self) -> Result<Verifier> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let leaf = params("token", Usage::Token, &Subject::Token, None)?;
        let certificate = leaf.signed_by(&TokenKey(&key), &self.issuer)?;
        Ok(Verifier {
            certificate: certificate.der().to_vec(),
            key,
        })
    }

    /// A card of the same name as the host's.
    pub(super) fn card(&self) -> Result<Card> {
        let key = EphemeralKey::generate()?;
        let subject = Subject::Host(CardId(key.public_key().sha256()));
        let params = params("host-1", Usage::Card, &subject, None)?;
        Ok(Card {
            certificate: params.signed_by(&key, &self.issuer)?.der().to_vec(),
            issuer: Issuer::new(params, key),
        })
    }
}

impl Verifier {
    /// A token with these claims.
    pub(super) fn sign(&self, claims: &str) -> Result<String> {
        let input = signing_input(&self.certificate, claims);
        let signature = self.key.sign(&SystemRandom::new(), input.as_bytes())?;
        Ok(compact(&input, signature.as_ref()))
    }

    /// The certificate, as the verifier would publish it.
    pub(super) fn chain(&self) -> Vec<Vec<u8>> {
        vec![self.certificate.clone()]
    }
}

impl Card {
    /// A key that the card certifies for a guest of whatever card.
    pub(super) fn certify(
        &self,
        usage: Usage,
        subject: &Subject,
        launch_measurement: &Digest,
    ) -> Result<Credential> {
        let key = EphemeralKey::generate()?;
        let leaf = params("leaf", usage, subject, Some(launch_measurement.clone()))?;
        let leaf = leaf.signed_by(&key, &self.issuer)?.der().to_vec();
        Ok(Credential {
            key,
            chain: vec![leaf, self.certificate.clone()],
        })
    }
}

/// A token key, as rcgen takes what it certifies.
struct TokenKey<'k>(&'k EcdsaKeyPair);

impl PublicKeyData for TokenKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

fn named(common: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let names = &mut params.distinguished_name;
    names.push(DnType::OrganizationName, "Bartizan");
    names.push(DnType::CommonName, common);
    params
}

/// What a certificate of some usage says.
fn params(
    common: &str,
    usage: Usage,
    subject: &Subject,
    launch_measurement: Option<Digest>,
) -> Result<CertificateParams> {
    let mut params = named(common);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    if usage == Usage::Card {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    }
    let purposes = usage.extended_key_usages().into_iter();
    params.extended_key_usages = purposes
        .map(|arcs| ExtendedKeyUsagePurpose::Other(arcs.to_vec()))
        .collect();
    params.subject_alt_names = vec![SanType::URI(subject.to_string().try_into()?)];
    if usage.names_vault() {
        let info = TcbInfo {
            vault: VaultKind::Software,
            launch_measurement,
            phases: Vec::new(),
        };
        let info = CustomExtension::from_oid_content(tcb_info::OID, info.encode()?);
        params.custom_extensions = vec![info];
    }
    Ok(params)
}
