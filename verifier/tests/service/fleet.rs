//! A fleet CA of the tests' own, and certificates of every usage by it and by cards.

use std::time::Duration;

use bartizan_attestation::boot::Sha384;
use bartizan_attestation::certificates::tcb_info::{self, TcbInfo};
use bartizan_attestation::certificates::{FleetCa, FormerFleetCa, Lineage, Usage};
use bartizan_attestation::cose::{Curve, PublicKey};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::identity::CardId;
use bartizan_attestation::keys::VaultKind;
use bartizan_attestation::measurement::Digest;
use bartizan_verifier::clock::now_s;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, SanType,
};

/// A CA: the fleet's, or a card.
pub(crate) struct Authority {
    pub(crate) key: EphemeralKey,
    params: CertificateParams,
    pub(crate) der: Vec<u8>,
    /// Of the boot that it certifies in.
    pub(crate) phases: Vec<Sha384>,
}

/// What a certificate shall say.
pub(crate) struct Wish<'a> {
    pub(crate) usage: Usage,
    pub(crate) uri: Option<String>,
    pub(crate) names: &'a [String],
    pub(crate) launch_measurement: Option<Digest>,
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
}

impl<'a> Wish<'a> {
    pub(crate) fn new(usage: Usage, uri: impl Into<Option<String>>) -> Self {
        let now = now_s();
        Self {
            usage,
            uri: uri.into(),
            names: &[],
            launch_measurement: None,
            not_before: now - 60,
            not_after: now + 3600,
        }
    }
}

impl Authority {
    pub(crate) fn fleet() -> Self {
        let key = EphemeralKey::generate().unwrap();
        let mut params = named("Fleet of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        set_validity(&mut params, now_s() - 60, now_s() + 86_400);
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self {
            key,
            params,
            der,
            phases: Vec::new(),
        }
    }

    /// The fleet's CAs once another one took this one's place.
    pub(crate) fn replaced_by(&self, new: &Self) -> Lineage {
        let cross = |subject: &Self, issuer: &Self, believed: Vec<&[u64]>| {
            let mut params = subject.params.clone();
            params.extended_key_usages = (believed.into_iter())
                .map(|arcs| ExtendedKeyUsagePurpose::Other(arcs.to_vec()))
                .collect();
            params.use_authority_key_identifier_extension = true;
            let by = Issuer::from_params(&issuer.params, &issuer.key);
            let cross = params.signed_by(&Certified(&subject.key.public_key()), &by);
            cross.unwrap().der().to_vec().into()
        };
        let former = FormerFleetCa {
            certificate: self.der.clone().into(),
            new_with_old: cross(new, self, Vec::new()),
            old_with_new: cross(self, new, Usage::of_former_ca()),
        };
        Lineage {
            present: new.der.clone().into(),
            former: vec![former],
        }
    }

    pub(crate) fn ca(&self) -> FleetCa {
        FleetCa::from_der(&self.der).unwrap()
    }

    /// Certifies a key.
    pub(crate) fn issue(&self, wish: &Wish<'_>, key: &PublicKey) -> Vec<u8> {
        let issuer = Issuer::from_params(&self.params, &self.key);
        params(wish, &self.phases)
            .signed_by(&Certified(key), &issuer)
            .unwrap()
            .der()
            .to_vec()
    }

    /// Certifies a card, which may then certify by itself.
    pub(crate) fn issue_card(&self, key: EphemeralKey) -> Self {
        let card = CardId(key.public_key().sha256());
        self.issue_card_as(card, key)
    }

    /// The same for a key that came after the card's first.
    pub(crate) fn issue_card_as(&self, card: CardId, key: EphemeralKey) -> Self {
        let wish = Wish::new(Usage::Card, format!("urn:bartizan:host:{card}"));
        let der = self.issue(&wish, &key.public_key());
        Self {
            params: params(&wish, &[]),
            key,
            der,
            phases: Vec::new(),
        }
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn params(wish: &Wish<'_>, phases: &[Sha384]) -> CertificateParams {
    let mut params = named(
        wish.uri
            .as_deref()
            .map_or("server", |uri| &uri[..uri.len().min(64)]),
    );
    set_validity(&mut params, wish.not_before, wish.not_after);
    for name in wish.names {
        params.subject_alt_names.push(match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(Ia5String::try_from(name.as_str()).unwrap()),
        });
    }
    if let Some(uri) = &wish.uri {
        let uri = Ia5String::try_from(uri.as_str()).unwrap();
        params.subject_alt_names.push(SanType::URI(uri));
    }
    params.extended_key_usages = (wish.usage.extended_key_usages().into_iter())
        .map(|arcs| ExtendedKeyUsagePurpose::Other(arcs.to_vec()))
        .collect();
    if wish.usage == Usage::Card {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    } else {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    }
    if wish.usage.names_vault() {
        let info = TcbInfo {
            vault: VaultKind::Software,
            launch_measurement: wish.launch_measurement.clone(),
            phases: phases.to_vec(),
        };
        let extension = CustomExtension::from_oid_content(tcb_info::OID, info.encode().unwrap());
        params.custom_extensions.push(extension);
    }
    params
}

fn set_validity(params: &mut CertificateParams, not_before: u64, not_after: u64) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(not_before);
    params.not_after = epoch + Duration::from_secs(not_after);
}

/// rcgen takes what it certifies by a trait of its own.
struct Certified<'a>(&'a PublicKey);

impl rcgen::PublicKeyData for Certified<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.point()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match self.0.curve() {
            Curve::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Curve::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        }
    }
}
