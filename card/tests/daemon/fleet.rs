//! A fleet CA of the tests' own, and what it and a card certify.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bartizan_attestation::certificates::tcb_info::{self, TcbInfo};
use bartizan_attestation::certificates::{FleetCa, FormerFleetCa, Lineage, Role, Subject, Usage};
use bartizan_attestation::cose::PublicKey;
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::identity::CardId;
use bartizan_attestation::keys::VaultKind;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyUsagePurpose, SanType,
};

/// First and last second of a certificate's life, since the Unix epoch.
pub(crate) type Validity = (u64, u64);

/// A CA: the fleet's, or a card.
pub(crate) struct Authority {
    pub(crate) key: EphemeralKey,
    params: CertificateParams,
    pub(crate) der: Vec<u8>,
}

/// A year that has just begun.
pub(crate) fn fresh() -> Validity {
    (now() - 60, now() + 365 * 86_400)
}

pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

impl Authority {
    pub(crate) fn fleet() -> Self {
        let key = EphemeralKey::generate().unwrap();
        let (begin, end) = fresh();
        let mut params = named("fleet", (begin - 86_400, end + 86_400));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { key, params, der }
    }

    /// The fleet's next CA, and what links the two.
    pub(crate) fn next(&self) -> (Self, Lineage) {
        let next = Self::fleet();
        let mut believed = self.params.clone();
        believed.extended_key_usages = extended(Usage::of_former_ca());
        let former = FormerFleetCa {
            certificate: self.der.clone().into(),
            new_with_old: self.issue(&next.params, &next.key.public_key()).into(),
            old_with_new: next.issue(&believed, &self.key.public_key()).into(),
        };
        let lineage = Lineage {
            present: next.der.clone().into(),
            former: vec![former],
        };
        (next, lineage)
    }

    pub(crate) fn ca(&self) -> FleetCa {
        FleetCa::from_der(&self.der).unwrap()
    }

    /// Certifies a new card, which may then certify by itself.
    pub(crate) fn card(&self, validity: Validity) -> Self {
        let key = EphemeralKey::generate().unwrap();
        let der = self.certify_card(&key.public_key(), validity);
        let params = card_params(CardId(key.public_key().sha256()), validity);
        Self { key, params, der }
    }

    /// Certifies a card's first key.
    pub(crate) fn certify_card(&self, key: &PublicKey, validity: Validity) -> Vec<u8> {
        self.certify_card_as(CardId(key.sha256()), key, validity)
    }

    /// Certifies a key of a card.
    pub(crate) fn certify_card_as(
        &self,
        card: CardId,
        key: &PublicKey,
        validity: Validity,
    ) -> Vec<u8> {
        self.issue(&card_params(card, validity), key)
    }

    /// The same card with its next key, by what it was certified with.
    pub(crate) fn succeeded(&self, key: EphemeralKey, der: Vec<u8>) -> Self {
        Self {
            key,
            params: self.params.clone(),
            der,
        }
    }

    /// Whose it is, where it is a card.
    pub(crate) fn id(&self) -> CardId {
        let subject = Subject::in_certificate(&self.der, Usage::Card);
        subject.unwrap().card().unwrap()
    }

    /// Certifies a key of the card's own TLS client.
    pub(crate) fn certify_client(&self, key: &PublicKey) -> Vec<u8> {
        let params = params(Usage::TlsClient, fresh(), uri(self.id()));
        self.issue(&params, key)
    }

    /// Certifies a key of the enclave of the card's host.
    pub(crate) fn certify_enclave(&self, usage: Usage, key: &PublicKey) -> Vec<u8> {
        let uri = Subject::Enclave(self.id()).uri().unwrap();
        let name = SanType::URI(Ia5String::try_from(uri).unwrap());
        self.issue(&params(usage, fresh(), name), key)
    }

    /// Certifies an operator's key.
    pub(crate) fn certify_operator(&self, key: &PublicKey, name: &str, role: Role) -> Vec<u8> {
        let uri = Subject::operator(name, role).unwrap().uri().unwrap();
        let name = SanType::URI(Ia5String::try_from(uri).unwrap());
        self.issue(&params(Usage::Operator, fresh(), name), key)
    }

    /// Certifies the verifier's key.
    pub(crate) fn certify_server(&self, key: &PublicKey) -> Vec<u8> {
        let address = SanType::IpAddress([127, 0, 0, 1].into());
        self.issue(&params(Usage::TlsServer, fresh(), address), key)
    }

    /// Certifies a token key that nobody has.
    pub(crate) fn certify_token(&self) -> Vec<u8> {
        let uri = Subject::Token.uri().unwrap();
        let name = SanType::URI(Ia5String::try_from(uri).unwrap());
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params(Usage::Token, fresh(), name).signed_by(&key, &issuer);
        certificate.unwrap().der().to_vec()
    }

    fn issue(&self, params: &CertificateParams, key: &PublicKey) -> Vec<u8> {
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&Certified(key), &issuer);
        certificate.unwrap().der().to_vec()
    }
}

fn card_params(card: CardId, validity: Validity) -> CertificateParams {
    let mut params = params(Usage::Card, validity, uri(card));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

/// The name of a card.
fn uri(card: CardId) -> SanType {
    let uri = format!("urn:bartizan:host:{card}");
    SanType::URI(Ia5String::try_from(uri).unwrap())
}

fn params(usage: Usage, validity: Validity, name: SanType) -> CertificateParams {
    let mut params = named("test", validity);
    params.subject_alt_names.push(name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = extended(usage.extended_key_usages());
    if usage.names_vault() {
        let info = TcbInfo {
            vault: VaultKind::Software,
            launch_measurement: None,
            phases: Vec::new(),
        };
        let extension = CustomExtension::from_oid_content(tcb_info::OID, info.encode().unwrap());
        params.custom_extensions.push(extension);
    }
    params
}

fn extended(purposes: Vec<&[u64]>) -> Vec<ExtendedKeyUsagePurpose> {
    let purposes = purposes.into_iter();
    purposes
        .map(|arcs| ExtendedKeyUsagePurpose::Other(arcs.to_vec()))
        .collect()
}

fn named(name: &str, (begin, end): Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(begin);
    params.not_after = epoch + Duration::from_secs(end);
    params
}

/// rcgen takes what it certifies by a trait of its own.
struct Certified<'a>(&'a PublicKey);

impl rcgen::PublicKeyData for Certified<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.point()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P384_SHA384
    }
}
