//! A fleet made for tests: a CA, a card, and certificates that are right until a test spoils them.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
    SanType, SigningKey, date_time_ymd,
};

use crate::certificates::tcb_info::{self, TcbInfo};
use crate::certificates::{FleetCa, Role, Subject, Usage};
use crate::csr::EphemeralKey;
use crate::identity::{CardId, GuestIdentity};
use crate::keys::VaultKind;
use crate::measurement::Digest;

/// 2026-06-01, in the middle of every validity.
pub(crate) const NOW: u64 = 1_780_272_000;
/// 2026-01-01, when certificates begin.
pub(crate) const NOT_BEFORE: u64 = 1_767_225_600;
/// 2027-01-01, when certificates end.
pub(crate) const NOT_AFTER: u64 = 1_798_761_600;

/// A CA and one card.
pub(crate) struct Fleet {
    pub(crate) ca: CertifiedIssuer<'static, EphemeralKey>,
    pub(crate) card: CertifiedIssuer<'static, EphemeralKey>,
    pub(crate) card_id: CardId,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        Self::of(ca_params())
    }

    /// One whose CA's certificate says that.
    pub(crate) fn of(ca: CertificateParams) -> Self {
        let ca = CertifiedIssuer::self_signed(ca, key()).unwrap();
        let (card, card_id) = issue_card(&ca, |_| ());
        Self { ca, card, card_id }
    }

    pub(crate) fn anchor(&self) -> FleetCa {
        FleetCa::from_der(self.ca.der()).unwrap()
    }

    pub(crate) fn guest(&self) -> GuestIdentity {
        GuestIdentity {
            card: self.card_id,
            vm: [7; 16],
            boot: 3,
        }
    }

    /// Whom the certificate of a usage speaks of.
    pub(crate) fn subject(&self, usage: Usage) -> Subject {
        match usage {
            Usage::Card | Usage::TlsClient => Subject::Host(self.card_id),
            Usage::ReportKey => Subject::Measurer(self.guest()),
            Usage::GuestKey => Subject::Guest(self.guest()),
            Usage::EnclaveTls | Usage::Evidence => Subject::Enclave(self.card_id),
            Usage::Hypervisor => Subject::Hypervisor(self.card_id),
            Usage::TlsServer => Subject::Server,
            Usage::Operator => Subject::operator("alice", Role::Administrator).unwrap(),
            Usage::Token => Subject::Token,
        }
    }

    /// A chain for `key`, right but for what `spoil` does to the leaf.
    pub(crate) fn issue(
        &self,
        usage: Usage,
        key: &impl PublicKeyData,
        spoil: impl FnOnce(&mut CertificateParams),
    ) -> Vec<Vec<u8>> {
        let mut params = params(usage, &self.subject(usage));
        spoil(&mut params);
        if usage.issued_by_card() {
            vec![signed(&params, key, &self.card), self.card.der().to_vec()]
        } else {
            vec![signed(&params, key, &self.ca)]
        }
    }

    /// A right chain, with a key of its own; the card's own certificate for [`Usage::Card`].
    pub(crate) fn chain(&self, usage: Usage) -> Vec<Vec<u8>> {
        match usage {
            Usage::Card => vec![self.card.der().to_vec()],
            Usage::Token => self.issue(usage, &p256(), |_| ()),
            _ => self.issue(usage, &key(), |_| ()),
        }
    }
}

pub(crate) fn key() -> EphemeralKey {
    EphemeralKey::generate().unwrap()
}

pub(crate) fn p256() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()
}

pub(crate) fn signed(
    params: &CertificateParams,
    key: &impl PublicKeyData,
    issuer: &Issuer<'_, impl SigningKey>,
) -> Vec<u8> {
    params.signed_by(key, issuer).unwrap().der().to_vec()
}

/// A card of the CA's, right but for what `spoil` does to it.
pub(crate) fn issue_card(
    ca: &Issuer<'_, EphemeralKey>,
    spoil: impl FnOnce(&mut CertificateParams),
) -> (CertifiedIssuer<'static, EphemeralKey>, CardId) {
    let key = key();
    let id = CardId(key.public_key().sha256());
    let mut params = params(Usage::Card, &Subject::Host(id));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    spoil(&mut params);
    (CertifiedIssuer::signed_by(params, key, ca).unwrap(), id)
}

pub(crate) fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name("fleet");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2030, 1, 1);
    params
}

/// What a certificate of a usage says when it is right.
pub(crate) fn params(usage: Usage, subject: &Subject) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(usage.name());
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = purposes(usage);
    params.subject_alt_names = match subject.uri() {
        Some(uri) => vec![SanType::URI(uri.try_into().unwrap())],
        None => vec![SanType::DnsName("verifier.example".try_into().unwrap())],
    };
    if usage.names_vault() {
        let launch = usage
            .carries_launch_measurement()
            .then(|| Digest(vec![0x5a; 48]));
        params.custom_extensions = vec![tcb_info(launch)];
    }
    params
}

pub(crate) fn purposes(usage: Usage) -> Vec<ExtendedKeyUsagePurpose> {
    let arcs = usage.extended_key_usages();
    arcs.into_iter()
        .map(|arcs| ExtendedKeyUsagePurpose::Other(arcs.to_vec()))
        .collect()
}

pub(crate) fn tcb_info(launch_measurement: Option<Digest>) -> CustomExtension {
    let info = TcbInfo {
        vault: VaultKind::Software,
        launch_measurement,
        phases: Vec::new(),
    };
    CustomExtension::from_oid_content(tcb_info::OID, info.encode().unwrap())
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}
