//! A small fleet: its CA, one card, and what they certify, all valid in 2026.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, PublicKeyData, SanType,
};

use crate::certificates::tcb_info::{self, TcbInfo};
use crate::certificates::{FleetCa, Usage};
use crate::csr::EphemeralKey;
use crate::identity::{CardId, GuestIdentity};
use crate::keys::VaultKind;
use crate::measurement::Digest;

/// 2026-06-01T00:00:00Z, in seconds since the Unix epoch.
pub(crate) const NOW_S: u64 = 1_780_272_000;
/// 2027-06-01T00:00:00Z: every certificate has expired.
pub(crate) const NEXT_YEAR_S: u64 = NOW_S + 31_536_000;

pub(crate) struct Fleet {
    ca_key: EphemeralKey,
    card_key: EphemeralKey,
    card: Vec<u8>,
    pub(crate) ca: FleetCa,
    pub(crate) guest: GuestIdentity,
}

pub(crate) fn launch_measurement() -> Digest {
    Digest(vec![7; 48])
}

impl Fleet {
    pub(crate) fn new() -> Self {
        let (ca_key, card_key) = (
            EphemeralKey::generate().unwrap(),
            EphemeralKey::generate().unwrap(),
        );
        let ca = ca_params().self_signed(&ca_key).unwrap();
        let id = CardId(card_key.public_key().sha256());
        let card = card_params(id)
            .signed_by(&card_key, &Issuer::new(ca_params(), &ca_key))
            .unwrap()
            .der()
            .to_vec();
        Self {
            ca: FleetCa::from_der(ca.der()).unwrap(),
            guest: GuestIdentity {
                card: id,
                vm: [5; 16],
                boot: 3,
            },
            ca_key,
            card_key,
            card,
        }
    }

    /// A report or guest key's chain, as this fleet's card would certify it.
    pub(crate) fn certified(
        &self,
        key: &impl PublicKeyData,
        usage: Usage,
        guest: &GuestIdentity,
        launch_measurement: &Digest,
    ) -> Vec<Vec<u8>> {
        let kind = if usage == Usage::ReportKey {
            "measurer"
        } else {
            "guest"
        };
        let uri = guest.to_string().replacen("guest", kind, 1);
        let issuer = Issuer::new(card_params(self.guest.card), &self.card_key);
        let info = TcbInfo {
            vault: VaultKind::Software,
            launch_measurement: Some(launch_measurement.clone()),
            phases: Vec::new(),
        };
        let leaf = leaf_params(&uri, usage, Some(info))
            .signed_by(key, &issuer)
            .unwrap();
        vec![leaf.der().to_vec(), self.card.clone()]
    }

    /// A chain by the fleet CA itself.
    pub(crate) fn certified_by_ca(
        &self,
        key: &impl PublicKeyData,
        usage: Usage,
        uri: &str,
    ) -> Vec<Vec<u8>> {
        let issuer = Issuer::new(ca_params(), &self.ca_key);
        vec![
            leaf_params(uri, usage, None)
                .signed_by(key, &issuer)
                .unwrap()
                .der()
                .to_vec(),
        ]
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
    params
}

fn ca_params() -> CertificateParams {
    let mut params = params("fleet");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn card_params(id: CardId) -> CertificateParams {
    let info = TcbInfo {
        vault: VaultKind::Software,
        launch_measurement: None,
        phases: Vec::new(),
    };
    let mut params = leaf_params(&format!("urn:bartizan:host:{id}"), Usage::Card, Some(info));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn leaf_params(uri: &str, usage: Usage, info: Option<TcbInfo>) -> CertificateParams {
    let mut params = params(uri.get(..40).unwrap_or(uri));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = usage
        .extended_key_usages()
        .into_iter()
        .map(|arcs| ExtendedKeyUsagePurpose::Other(arcs.to_vec()))
        .collect();
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params.custom_extensions.extend(
        info.map(|info| CustomExtension::from_oid_content(tcb_info::OID, info.encode().unwrap())),
    );
    params
}
