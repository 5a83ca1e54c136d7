//! A fleet of the tests' own: a CA, one card, and the guest keys that it certifies.

use bartizan_attestation::certificates::tcb_info::{self, TcbInfo};
use bartizan_attestation::certificates::{FleetCa, FormerFleetCa, Lineage, Role, Subject, Usage};
use bartizan_attestation::cose::PublicKey;
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::identity::{CardId, GuestIdentity};
use bartizan_attestation::keys::{Chain, VaultKind};
use bartizan_attestation::launch::sign_record;
use bartizan_attestation::measurement::Digest;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType, date_time_ymd,
};

pub(crate) struct Fleet {
    ca: CertifiedIssuer<'static, EphemeralKey>,
    card: CertifiedIssuer<'static, EphemeralKey>,
    pub(crate) card_id: CardId,
    operator: (EphemeralKey, Vec<u8>),
    former: Option<FormerFleetCa>,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        let key = EphemeralKey::generate().unwrap();
        let ca = CertifiedIssuer::self_signed(ca_params(), key).unwrap();
        let key = EphemeralKey::generate().unwrap();
        let card_id = CardId(key.public_key().sha256());
        let mut params = of_usage(Usage::Card, &Subject::Host(card_id), None);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let card = CertifiedIssuer::signed_by(params, key, &ca).unwrap();
        let key = EphemeralKey::generate().unwrap();
        let params = of_usage(
            Usage::Operator,
            &Subject::operator("ann", Role::Runner).unwrap(),
            None,
        );
        let certified = params.signed_by(&Certified(&key.public_key()), &ca);
        let operator = (key, certified.unwrap().der().to_vec());
        Self {
            ca,
            card,
            card_id,
            operator,
            former: None,
        }
    }

    /// One whose CA took another one's place, which who does not ask trusts still.
    pub(crate) fn after_a_rotation() -> Self {
        let (old, new) = (Self::new(), Self::new());
        let former = Some(old.replaced_by(&new, 2049));
        Self { former, ..new }
    }

    /// The same where nothing by the former CA is valid any more; its operator signs all the same.
    pub(crate) fn long_after_a_rotation() -> Self {
        let (old, new) = (Self::new(), Self::new());
        let former = Some(old.replaced_by(&new, 2025));
        let operator = old.operator;
        Self {
            former,
            operator,
            ..new
        }
    }

    /// What links it to the next CA, until a year begins.
    fn replaced_by(&self, new: &Self, ends: i32) -> FormerFleetCa {
        let cross = |subject: &Self, issuer: &Self, believed: Vec<&[u64]>, ends: i32| {
            let mut params = ca_params();
            params.extended_key_usages = (believed.into_iter())
                .map(|arcs| ExtendedKeyUsagePurpose::Other(arcs.to_vec()))
                .collect();
            params.not_after = date_time_ymd(ends, 1, 1);
            let cross = params.signed_by(subject.ca.key(), &issuer.ca);
            cross.unwrap().der().to_vec().into()
        };
        FormerFleetCa {
            certificate: self.ca().into(),
            new_with_old: cross(new, self, Vec::new(), 2049),
            old_with_new: cross(self, new, Usage::of_former_ca(), ends),
        }
    }

    /// The CAs, as the card tells them.
    pub(crate) fn lineage(&self) -> Lineage {
        Lineage {
            former: self.former.iter().cloned().collect(),
            ..Lineage::of(self.ca())
        }
    }

    /// The certificate (DER) of the CA that the daemon is configured with.
    pub(crate) fn configured(&self) -> Vec<u8> {
        match &self.former {
            Some(former) => former.certificate.to_vec(),
            None => self.ca(),
        }
    }

    /// Signs a launch record as the operator `ann`.
    pub(crate) fn sign(&self, record: &str) -> Vec<u8> {
        let (key, certificate) = &self.operator;
        sign_record(record, std::slice::from_ref(certificate), key).unwrap()
    }

    /// SHA-256 of the CA, as launch records name it.
    pub(crate) fn anchor(&self) -> String {
        anchor(&self.ca())
    }

    /// The same of the CA that the daemon is configured with.
    pub(crate) fn configured_anchor(&self) -> String {
        anchor(&self.configured())
    }

    /// The CA's certificate, DER.
    pub(crate) fn ca(&self) -> Vec<u8> {
        self.ca.der().to_vec()
    }

    /// The card's certificate for a guest's key.
    pub(crate) fn certify(&self, guest: GuestIdentity, launch: Digest, key: &PublicKey) -> Chain {
        let params = of_usage(Usage::GuestKey, &Subject::Guest(guest), Some(launch));
        let leaf = params.signed_by(&Certified(key), &self.card).unwrap();
        vec![leaf.der().to_vec().into(), self.card.der().to_vec().into()]
    }
}

fn anchor(ca: &[u8]) -> String {
    let ca = FleetCa::from_pem_or_der(ca).unwrap();
    Digest(ca.sha256().to_vec()).to_string()
}

fn ca_params() -> CertificateParams {
    let mut params = named("fleet");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn of_usage(usage: Usage, subject: &Subject, launch: Option<Digest>) -> CertificateParams {
    let mut params = named(&format!("{usage:?}"));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = (usage.extended_key_usages().into_iter())
        .map(|arcs| ExtendedKeyUsagePurpose::Other(arcs.to_vec()))
        .collect();
    params.subject_alt_names = vec![SanType::URI(subject.uri().unwrap().try_into().unwrap())];
    if usage == Usage::Operator {
        return params;
    }
    let info = TcbInfo {
        vault: VaultKind::Software,
        launch_measurement: launch,
        phases: Vec::new(),
    };
    params.custom_extensions = vec![CustomExtension::from_oid_content(
        tcb_info::OID,
        info.encode().unwrap(),
    )];
    params
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 1, 1);
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
