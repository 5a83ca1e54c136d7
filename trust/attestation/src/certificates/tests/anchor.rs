//! What can be a fleet's CA.

use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyUsagePurpose, PublicKeyData};

use super::fleet::{Fleet, NOW, ca_params, key, p256, signed};
use crate::certificates::{ChainError, FleetCa, FleetCaError, Usage, verify_chain};

fn self_signed(spoil: impl FnOnce(&mut CertificateParams)) -> Result<FleetCa, FleetCaError> {
    let mut params = ca_params();
    spoil(&mut params);
    FleetCa::from_der(params.self_signed(&key()).unwrap().der())
}

#[test]
fn a_right_one_is_taken() {
    let fleet = Fleet::new();
    let anchor = fleet.anchor();
    assert_eq!(anchor.der(), &fleet.ca.der()[..]);
    assert_eq!(anchor.sha256(), crate::digest::sha256(fleet.ca.der()));
    assert_eq!(
        anchor.public_key().spki_der(),
        fleet.ca.key().subject_public_key_info()
    );
}

#[test]
fn a_leaf_is_none() {
    assert_eq!(
        self_signed(|p| p.is_ca = IsCa::NoCa).unwrap_err(),
        FleetCaError::NotACa
    );
    let no_certificates = |p: &mut CertificateParams| {
        p.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    };
    assert_eq!(
        self_signed(no_certificates).unwrap_err(),
        FleetCaError::NotACa
    );
}

#[test]
fn one_signed_by_another_is_none() {
    let other = CertifiedIssuer::self_signed(ca_params(), key()).unwrap();
    // Both carry the same name: only the signature tells.
    let der = signed(&ca_params(), &key(), &other);
    assert_eq!(
        FleetCa::from_der(&der).unwrap_err(),
        FleetCaError::NotSelfSigned
    );
}

#[test]
fn one_of_another_curve_is_none() {
    let der = ca_params().self_signed(&p256()).unwrap();
    assert_eq!(
        FleetCa::from_der(der.der()).unwrap_err(),
        FleetCaError::NotSelfSigned
    );
}

#[test]
fn garbage_and_trailing_bytes_are_none() {
    let malformed = FleetCaError::Malformed(ChainError::Malformed);
    assert_eq!(FleetCa::from_der(b"").unwrap_err(), malformed);
    let mut der = Fleet::new().ca.der().to_vec();
    der.push(0);
    assert_eq!(FleetCa::from_der(&der).unwrap_err(), malformed);
}

#[test]
fn a_fleet_ca_ends_too() {
    let mut params = ca_params();
    params.not_after = rcgen::date_time_ymd(2026, 5, 1);
    let ca = CertifiedIssuer::self_signed(params, key()).unwrap();
    let (card, card_id) = super::fleet::issue_card(&ca, |_| ());
    let fleet = Fleet { ca, card, card_id };
    for usage in Usage::ALL {
        let outcome = verify_chain(&fleet.chain(usage), &fleet.anchor(), NOW, usage);
        assert_eq!(outcome, Err(ChainError::Expired));
    }
}
