//! Chains that are wrong in one thing each.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, ExtendedKeyUsagePurpose,
    IsCa, KeyUsagePurpose, SanType,
};

use super::fleet::{
    Fleet, NOW, ca_params, issue_card, key, p256, params, purposes, signed, tcb_info,
};
use crate::certificates::tcb_info::{OID, TcbInfoError};
use crate::certificates::{ChainError, Subject, Usage, verify_chain};
use crate::cose::MAX_CERTIFICATE;
use crate::csr::EphemeralKey;
use crate::identity::{CardId, GuestIdentity};
use crate::measurement::Digest;

fn spoilt(usage: Usage, spoil: impl FnOnce(&mut CertificateParams)) -> ChainError {
    let fleet = Fleet::new();
    let chain = fleet.issue(usage, &key(), spoil);
    verify_chain(&chain, &fleet.anchor(), NOW, usage).unwrap_err()
}

/// A guest key's chain under a card that is wrong.
fn spoilt_card(spoil: impl FnOnce(&mut CertificateParams)) -> ChainError {
    let mut fleet = Fleet::new();
    (fleet.card, fleet.card_id) = issue_card(&fleet.ca, spoil);
    let leaf = verify_chain(
        &fleet.chain(Usage::GuestKey),
        &fleet.anchor(),
        NOW,
        Usage::GuestKey,
    );
    let own = verify_chain(&fleet.chain(Usage::Card), &fleet.anchor(), NOW, Usage::Card);
    assert!(own.is_err(), "a wrong card passes by itself");
    leaf.unwrap_err()
}

fn uri(subject: &Subject) -> SanType {
    SanType::URI(subject.uri().unwrap().try_into().unwrap())
}

#[test]
fn foreign_cas_are_refused_even_under_the_same_name() {
    let (ours, theirs) = (Fleet::new(), Fleet::new());
    for usage in Usage::ALL {
        let outcome = verify_chain(&theirs.chain(usage), &ours.anchor(), NOW, usage);
        assert_eq!(outcome, Err(ChainError::ForeignCa), "{usage:?}");
    }
    // Their leaf under our card.
    let mut chain = theirs.chain(Usage::ReportKey);
    chain[1] = ours.card.der().to_vec();
    let outcome = verify_chain(&chain, &ours.anchor(), NOW, Usage::ReportKey);
    assert_eq!(outcome, Err(ChainError::ForeignCa));
}

#[test]
fn the_length_is_that_of_the_usage() {
    let fleet = Fleet::new();
    let ca = fleet.ca.der().to_vec();
    for usage in Usage::ALL {
        let chain = fleet.chain(usage);
        let with_ca = [&chain[..], std::slice::from_ref(&ca)].concat();
        let doubled = [&chain[..1], &chain[..]].concat();
        for wrong in [
            &[][..],
            &with_ca[..],
            &doubled[..],
            &vec![ca.clone(); 100][..],
        ] {
            let outcome = verify_chain(wrong, &fleet.anchor(), NOW, usage);
            let (expected, found) = (usage.chain_len(), wrong.len());
            assert_eq!(
                outcome,
                Err(ChainError::Length {
                    usage,
                    expected,
                    found
                })
            );
        }
    }
    let large = [vec![0x30; MAX_CERTIFICATE + 1]];
    let outcome = verify_chain(&large, &fleet.anchor(), NOW, Usage::Operator);
    assert_eq!(outcome, Err(ChainError::TooLarge(MAX_CERTIFICATE + 1)));
}

#[test]
fn a_leaf_of_the_fleet_ca_does_not_pass_under_a_card() {
    let (ours, theirs) = (Fleet::new(), Fleet::new());
    for usage in Usage::ALL
        .into_iter()
        .filter(|usage| usage.issued_by_card())
    {
        for card in [&ours, &theirs] {
            // It even says that it is that card's.
            let leaf = signed(&params(usage, &card.subject(usage)), &key(), &ours.ca);
            let chain = [leaf, card.card.der().to_vec()];
            let outcome = verify_chain(&chain, &ours.anchor(), NOW, usage);
            assert_eq!(outcome, Err(ChainError::PastCard), "{usage:?}");
        }
    }
}

#[test]
fn a_card_issues_for_itself_only() {
    let fleet = Fleet::new();
    let other = CardId([9; 32]);
    let guest = GuestIdentity {
        card: other,
        vm: [7; 16],
        boot: 3,
    };
    for (usage, subject) in [
        (Usage::TlsClient, Subject::Host(other)),
        (Usage::ReportKey, Subject::Measurer(guest)),
        (Usage::GuestKey, Subject::Guest(guest)),
        (Usage::EnclaveTls, Subject::Enclave(other)),
        (Usage::Evidence, Subject::Enclave(other)),
        (Usage::Hypervisor, Subject::Hypervisor(other)),
    ] {
        let chain = fleet.issue(usage, &key(), |p| p.subject_alt_names = vec![uri(&subject)]);
        let outcome = verify_chain(&chain, &fleet.anchor(), NOW, usage);
        let foreign = ChainError::ForeignCard {
            claimed: other,
            issuer: fleet.card_id,
        };
        assert_eq!(outcome, Err(foreign), "{usage:?}");
    }
}

#[test]
fn alternative_names_are_exactly_one_fitting_uri() {
    let fleet = Fleet::new();
    let guest = uri(&fleet.subject(Usage::GuestKey));
    let dns = || SanType::DnsName("guest.example".try_into().unwrap());
    for names in [
        vec![],
        vec![dns()],
        vec![guest.clone(), dns()],
        vec![guest.clone(), guest.clone()],
    ] {
        let chain = fleet.issue(Usage::GuestKey, &key(), |p| {
            p.subject_alt_names = names.clone()
        });
        let outcome = verify_chain(&chain, &fleet.anchor(), NOW, Usage::GuestKey);
        assert_eq!(outcome, Err(ChainError::AlternativeName), "{names:?}");
    }
    let measurer = fleet.subject(Usage::ReportKey);
    let chain = fleet.issue(Usage::GuestKey, &key(), |p| {
        p.subject_alt_names = vec![uri(&measurer)]
    });
    let outcome = verify_chain(&chain, &fleet.anchor(), NOW, Usage::GuestKey);
    assert!(matches!(outcome, Err(ChainError::WrongSubject { .. })));

    let foreign = SanType::URI("https://example.com/".try_into().unwrap());
    let refusal = spoilt(Usage::Operator, |p| p.subject_alt_names = vec![foreign]);
    assert!(matches!(refusal, ChainError::Uri(_)), "{refusal}");
    let server = spoilt(Usage::TlsServer, |p| p.subject_alt_names.push(guest));
    assert_eq!(server, ChainError::AlternativeName);
}

#[test]
fn key_usages_are_exact() {
    let usage = Usage::GuestKey;
    let wrong = ChainError::WrongUsage { usage };
    // Both kinds of key in one: could sign the request and its report.
    let both = |p: &mut CertificateParams| p.extended_key_usages.extend(purposes(Usage::ReportKey));
    assert_eq!(spoilt(usage, both), wrong);
    let any =
        |p: &mut CertificateParams| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
    assert!(matches!(spoilt(usage, any), ChainError::Path(_)));
    assert!(matches!(
        spoilt(usage, |p| p.extended_key_usages.clear()),
        ChainError::Path(_)
    ));
    assert_eq!(spoilt(usage, |p| p.key_usages.clear()), wrong);
    assert_eq!(
        spoilt(usage, |p| p.key_usages.push(KeyUsagePurpose::KeyCertSign)),
        wrong
    );
    let ca = |p: &mut CertificateParams| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    assert!(matches!(spoilt(usage, ca), ChainError::Path(_)));
}

#[test]
fn keys_are_of_the_curve_of_their_usage() {
    let fleet = Fleet::new();
    let usage = Usage::GuestKey;
    let chain = fleet.issue(usage, &p256(), |_| ());
    let outcome = verify_chain(&chain, &fleet.anchor(), NOW, usage);
    assert_eq!(outcome, Err(ChainError::WrongKey { usage }));
    let usage = Usage::Token;
    assert_eq!(spoilt(usage, |_| ()), ChainError::WrongKey { usage });
}

#[test]
fn cards_are_constrained() {
    let usage = Usage::Card;
    let wrong = ChainError::WrongUsage { usage };
    let unconstrained =
        |p: &mut CertificateParams| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    assert_eq!(spoilt_card(unconstrained), wrong);
    assert_eq!(
        spoilt_card(|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(1))),
        wrong
    );
    assert!(matches!(
        spoilt_card(|p| p.is_ca = IsCa::NoCa),
        ChainError::Path(_)
    ));
    assert_eq!(
        spoilt_card(|p| p.key_usages = vec![KeyUsagePurpose::DigitalSignature]),
        wrong
    );
    assert_eq!(
        spoilt_card(|p| p
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::CodeSigning)),
        wrong
    );
    assert_eq!(
        spoilt_card(|p| p.custom_extensions.clear()),
        ChainError::TcbInfoUnfit { usage }
    );
}

#[test]
fn a_leaf_issues_nothing() {
    let fleet = Fleet::new();
    let guest_key = key();
    let chain = fleet.issue(Usage::GuestKey, &guest_key, |_| ());
    let issuer = rcgen::Issuer::new(
        params(Usage::GuestKey, &fleet.subject(Usage::GuestKey)),
        guest_key,
    );
    let forged = signed(
        &params(Usage::GuestKey, &fleet.subject(Usage::GuestKey)),
        &key(),
        &issuer,
    );
    let outcome = verify_chain(
        &[forged.clone(), chain[0].clone()],
        &fleet.anchor(),
        NOW,
        Usage::GuestKey,
    );
    assert!(outcome.is_err());
    // Nor does a second card below the first.
    let (below, card_id) = issue_card(&fleet.card, |_| ());
    let deeper = Fleet {
        ca: clone_of(&fleet),
        card: below,
        card_id,
    };
    let outcome = verify_chain(
        &deeper.chain(Usage::GuestKey),
        &fleet.anchor(),
        NOW,
        Usage::GuestKey,
    );
    assert_eq!(outcome, Err(ChainError::ForeignCa));
}

fn clone_of(fleet: &Fleet) -> CertifiedIssuer<'static, EphemeralKey> {
    let key = EphemeralKey::from_pkcs8_der(fleet.ca.key().pkcs8_der()).unwrap();
    CertifiedIssuer::self_signed(ca_params(), key).unwrap()
}

#[test]
fn tcb_info_fits_the_usage() {
    let launch = || Some(Digest(vec![0x5a; 48]));
    for (usage, extensions) in [
        (Usage::GuestKey, vec![]),
        (Usage::GuestKey, vec![tcb_info(None)]),
        (Usage::ReportKey, vec![tcb_info(None)]),
        (Usage::TlsClient, vec![tcb_info(launch())]),
        (Usage::EnclaveTls, vec![tcb_info(launch())]),
        (Usage::Evidence, vec![]),
        (Usage::Hypervisor, vec![]),
        (Usage::Operator, vec![tcb_info(None)]),
    ] {
        let refusal = spoilt(usage, |p| p.custom_extensions = extensions);
        assert_eq!(refusal, ChainError::TcbInfoUnfit { usage });
    }
    let twice = spoilt(Usage::GuestKey, |p| {
        p.custom_extensions.push(tcb_info(launch()))
    });
    assert_eq!(twice, ChainError::Malformed);
    let strange = CustomExtension::from_oid_content(OID, vec![0x30, 0]);
    let refusal = spoilt(Usage::GuestKey, |p| p.custom_extensions = vec![strange]);
    assert_eq!(refusal, ChainError::TcbInfo(TcbInfoError::Malformed));
}

#[test]
fn unknown_critical_extensions_are_refused() {
    let critical = || {
        let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        extension.set_criticality(true);
        extension
    };
    for usage in [Usage::GuestKey, Usage::Operator] {
        assert!(matches!(
            spoilt(usage, |p| p.custom_extensions.push(critical())),
            ChainError::Path(_)
        ));
    }
    spoilt_card(|p| p.custom_extensions.push(critical()));
}
