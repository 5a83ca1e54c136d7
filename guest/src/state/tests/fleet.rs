//! A fleet with one card, which certifies guests as a host's vault does.

use bartizan_attestation::certificates::tcb_info::{self, TcbInfo};
use bartizan_attestation::certificates::{FleetCa, FormerFleetCa, Lineage, Usage};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::identity::{CardId, GuestIdentity};
use bartizan_attestation::keys::VaultKind;
use bartizan_attestation::measurement::Digest;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyUsagePurpose, SanType,
};

pub(super) struct Fleet {
    pub(super) ca: FleetCa,
    ca_key: EphemeralKey,
    card_key: EphemeralKey,
}

/// A boot of the one guest of a fleet.
pub(super) fn guest(fleet: &Fleet, boot: u64) -> GuestIdentity {
    GuestIdentity {
        card: fleet.card(),
        vm: [5; 16],
        boot,
    }
}

impl Fleet {
    pub(super) fn new() -> Self {
        let (ca_key, card_key) = (key(), key());
        let ca = ca_params().self_signed(&ca_key).unwrap();
        Self {
            ca: FleetCa::from_der(ca.der()).unwrap(),
            ca_key,
            card_key,
        }
    }

    /// The fleet's next CA, with a card of its own, and what links the two.
    pub(super) fn next(&self) -> (Self, Lineage) {
        let next = Self::new();
        let cross = |subject: &EphemeralKey, issuer: &EphemeralKey, believed: Vec<&[u64]>| {
            let issuer = Issuer::new(ca_params(), issuer);
            let mut params = ca_params();
            params.extended_key_usages = (believed.into_iter())
                .map(|arcs| ExtendedKeyUsagePurpose::Other(arcs.to_vec()))
                .collect();
            let link = params.signed_by(subject, &issuer);
            link.unwrap().der().to_vec()
        };
        let former = FormerFleetCa {
            certificate: self.ca.der().to_vec().into(),
            new_with_old: cross(&next.ca_key, &self.ca_key, Vec::new()).into(),
            old_with_new: cross(&self.ca_key, &next.ca_key, Usage::of_former_ca()).into(),
        };
        let lineage = Lineage {
            present: next.ca.der().to_vec().into(),
            former: vec![former],
        };
        (next, lineage)
    }

    /// The chain of a guest's key, valid now.
    pub(super) fn chain(&self, key: &EphemeralKey, guest: GuestIdentity) -> Vec<Vec<u8>> {
        self.chain_of_years(key, guest, [1975, 4096])
    }

    /// One that was valid for a year, long ago.
    pub(super) fn expired_chain(&self, key: &EphemeralKey, guest: GuestIdentity) -> Vec<Vec<u8>> {
        self.chain_of_years(key, guest, [1975, 1976])
    }

    /// One that will be valid for a year, in a long while.
    pub(super) fn future_chain(&self, key: &EphemeralKey, guest: GuestIdentity) -> Vec<Vec<u8>> {
        self.chain_of_years(key, guest, [4095, 4096])
    }

    fn chain_of_years(
        &self,
        key: &EphemeralKey,
        guest: GuestIdentity,
        [from, until]: [i32; 2],
    ) -> Vec<Vec<u8>> {
        let mut params = leaf_params(Usage::GuestKey, &guest.to_string());
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let by_card = Issuer::new(self.card_params(), &self.card_key);
        let leaf = params.signed_by(key, &by_card).unwrap();
        let by_ca = Issuer::new(ca_params(), &self.ca_key);
        let card = self.card_params().signed_by(&self.card_key, &by_ca);
        vec![leaf.der().to_vec(), card.unwrap().der().to_vec()]
    }

    fn card(&self) -> CardId {
        CardId(self.card_key.public_key().sha256())
    }

    fn card_params(&self) -> CertificateParams {
        let mut params = leaf_params(Usage::Card, &format!("urn:bartizan:host:{}", self.card()));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
    }
}

fn key() -> EphemeralKey {
    EphemeralKey::generate().unwrap()
}

fn ca_params() -> CertificateParams {
    let mut params = params("fleet");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn leaf_params(usage: Usage, uri: &str) -> CertificateParams {
    let mut params = params(&format!("{usage:?}"));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = usage
        .extended_key_usages()
        .into_iter()
        .map(|arcs| ExtendedKeyUsagePurpose::Other(arcs.to_vec()))
        .collect();
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    let info = TcbInfo {
        vault: VaultKind::Software,
        launch_measurement: usage
            .carries_launch_measurement()
            .then(|| Digest(vec![7; 48])),
        phases: Vec::new(),
    };
    let value = info.encode().unwrap();
    params
        .custom_extensions
        .push(CustomExtension::from_oid_content(tcb_info::OID, value));
    params
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(1975, 1, 1);
    params.not_after = rcgen::date_time_ymd(4096, 1, 1);
    params
}
