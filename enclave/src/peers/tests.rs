use bartizan_attestation::certificates::tcb_info::{self, TcbInfo};
use bartizan_attestation::certificates::{FormerFleetCa, Lineage};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::keys::VaultKind;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName,
    ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, PublicKeyData, SanType,
};

use super::*;

/// A fleet with one card, whose certificates are valid for long.
pub(crate) struct Fleet {
    pub(crate) pem: String,
    pub(crate) ca: FleetCa,
    issuer: CertifiedIssuer<'static, EphemeralKey>,
}

/// One of its cards.
pub(crate) struct Card {
    issuer: CertifiedIssuer<'static, EphemeralKey>,
    pub(crate) id: CardId,
}

pub(crate) fn key() -> EphemeralKey {
    EphemeralKey::generate().unwrap()
}

pub(crate) fn now_s() -> u64 {
    crate::run::now_s()
}

fn params(usage: Usage, uri: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = (usage.extended_key_usages().into_iter())
        .map(|arcs| ExtendedKeyUsagePurpose::Other(arcs.to_vec()))
        .collect();
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    let info = TcbInfo {
        vault: VaultKind::Software,
        launch_measurement: None,
        phases: match usage {
            Usage::Card => Vec::new(),
            _ => vec![Sha384::of(b"a phase")],
        },
    };
    let info = CustomExtension::from_oid_content(tcb_info::OID, info.encode().unwrap());
    params.custom_extensions = vec![info];
    params
}

impl Fleet {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, key()).unwrap();
        Self {
            pem: issuer.pem(),
            ca: FleetCa::from_der(issuer.der()).unwrap(),
            issuer,
        }
    }

    /// The fleet's next CA, and what links the two.
    pub(crate) fn rolled(&self) -> (Self, Lineage) {
        let next = Self::new();
        let cross = |subject: &Self, issuer: &Self, believed: Vec<&[u64]>| {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            params.extended_key_usages = (believed.into_iter())
                .map(|arcs| ExtendedKeyUsagePurpose::Other(arcs.to_vec()))
                .collect();
            let signed = params.signed_by(subject.issuer.key(), &issuer.issuer);
            signed.unwrap().der().to_vec()
        };
        let former = FormerFleetCa {
            certificate: self.ca.der().to_vec().into(),
            new_with_old: cross(&next, self, Vec::new()).into(),
            old_with_new: cross(self, &next, Usage::of_former_ca()).into(),
        };
        let lineage = Lineage {
            present: next.ca.der().to_vec().into(),
            former: vec![former],
        };
        (next, lineage)
    }

    pub(crate) fn card(&self) -> Card {
        let key = key();
        let id = CardId(key.public_key().sha256());
        let mut params = params(Usage::Card, &format!("urn:bartizan:host:{id}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Card {
            issuer: CertifiedIssuer::signed_by(params, key, &self.issuer).unwrap(),
            id,
        }
    }
}

impl Card {
    pub(crate) fn certify(&self, usage: Usage, key: &impl PublicKeyData) -> Vec<Vec<u8>> {
        let kind = match usage {
            Usage::TlsClient => "host",
            Usage::Hypervisor => "hypervisor",
            _ => "enclave",
        };
        let params = params(usage, &format!("urn:bartizan:{kind}:{}", self.id));
        let leaf = params.signed_by(key, &self.issuer).unwrap();
        vec![leaf.der().to_vec(), self.issuer.der().to_vec()]
    }
}

#[test]
fn card_and_hypervisor_are_those_of_one_host() {
    let fleet = Fleet::new();
    let (own, other) = (fleet.card(), fleet.card());
    let met = OwnCard::default();
    let hypervisor = |of: &Card| {
        let chain = of.certify(Usage::Hypervisor, &key());
        met.hypervisor(Some(&chain), &fleet.ca, now_s())
    };
    let card = |of: &Card| {
        let chain = of.certify(Usage::TlsClient, &key());
        met.card(Some(&chain), &fleet.ca, now_s())
    };
    assert!(matches!(hypervisor(&own), Err(PeerError::NoCard)));
    let peer = card(&own).unwrap();
    assert_eq!((peer.card, peer.phases.len()), (own.id, 1));
    assert_eq!(hypervisor(&own).unwrap().card, own.id);
    assert_eq!(card(&own).unwrap().card, own.id);
    for refused in [hypervisor(&other), card(&other)] {
        assert!(matches!(refused, Err(PeerError::OtherCard { .. })));
    }
}

#[test]
fn nobody_passes_for_another() {
    let (fleet, stranger) = (Fleet::new(), Fleet::new().card());
    let card = fleet.card();
    let met = OwnCard::default();
    let key = key();
    met.card(
        Some(&card.certify(Usage::TlsClient, &key)),
        &fleet.ca,
        now_s(),
    )
    .unwrap();
    for usage in [Usage::TlsClient, Usage::EnclaveTls, Usage::Evidence] {
        let chain = card.certify(usage, &key);
        met.hypervisor(Some(&chain), &fleet.ca, now_s())
            .unwrap_err();
    }
    for usage in [Usage::Hypervisor, Usage::EnclaveTls, Usage::Evidence] {
        let chain = card.certify(usage, &key);
        met.card(Some(&chain), &fleet.ca, now_s()).unwrap_err();
    }
    let foreign = stranger.certify(Usage::TlsClient, &key);
    let foreign = met.card(Some(&foreign), &fleet.ca, now_s());
    assert!(matches!(foreign, Err(PeerError::Certificate(_))));
    let nobody = met.card(None, &fleet.ca, now_s());
    assert!(matches!(nobody, Err(PeerError::Nobody)));
}
