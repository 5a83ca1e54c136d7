//! What a vault tells of its keys.

use bartizan_attestation::keys::KeyEvent;

use super::*;

fn history(vault: &Vault) -> Vec<KeyEvent> {
    match vault.answer(VaultRequest::History, NOW) {
        VaultReply::History(events) => events,
        other => panic!("{other:?}"),
    }
}

fn told(vault: &Vault) -> Vec<(&'static str, &'static str)> {
    let events = history(vault).into_iter();
    events
        .map(|event| (event.kind.name(), event.what.word()))
        .collect()
}

fn newest(vault: &Vault, purpose: Purpose) -> [u8; 32] {
    let VaultReply::Description { keys, .. } = vault.answer(VaultRequest::Describe, NOW) else {
        panic!("no description");
    };
    *keys
        .iter()
        .rfind(|key| key.purpose == purpose)
        .expect("it has one")
        .id
}

#[test]
fn what_is_certified_for_others_is_in_the_history_too() {
    let (verifier, host, _) = fleet();
    let key = EphemeralKey::generate().unwrap();
    let report = VaultRequest::CertifyReportKey {
        csr: key.csr().unwrap(),
        guest: guest(&host.vault),
        launch_measurement: Digest(vec![1; 48]),
        lifetime_s: 60,
    };
    let chain = certificates(host.vault.answer(report, NOW));
    let events = history(&host.vault);
    let last = events.last().unwrap();
    assert_eq!(
        (last.kind.name(), last.what.word()),
        ("report", "certified")
    );
    assert_eq!(*last.id, key.public_key().sha256());
    let KeyEventKind::Certified {
        certificate,
        not_after,
    } = &last.what
    else {
        panic!("{last:?}");
    };
    assert_eq!((**certificate, *not_after), (sha256(&chain[0]), NOW + 60));
    assert_eq!(
        told(&verifier.vault),
        [
            ("fleet-ca", "made"),
            ("fleet-ca", "certified"),
            ("card", "certified")
        ]
    );
    assert_eq!(
        told(&host.vault)[..2],
        [("card", "made"), ("card", "certified")]
    );
}

#[test]
fn what_is_refused_is_in_no_history() {
    let (_, host, _) = fleet();
    let before = history(&host.vault).len();
    let too_long = VaultRequest::RotateTlsClient { lifetime_s: 9999 };
    refusal(host.vault.answer(too_long, NOW));
    assert_eq!(history(&host.vault).len(), before);
}

#[test]
fn a_revoked_token_key_signs_nothing_more() {
    let (verifier, host, _) = fleet();
    let vault = &verifier.vault;
    let rotate = || VaultRequest::RotateToken { lifetime_s: 60 };
    let chain = certificates(vault.answer(rotate(), NOW));
    let id = newest(vault, Purpose::Token);
    let signed = super::taken_over::result(NOW, &chain[0]);
    assert!(matches!(vault.answer(signed, NOW), VaultReply::Token(_)));
    let revoke = |purpose, id: [u8; 32]| VaultRequest::Revoke {
        purpose,
        id: id.into(),
    };
    assert_eq!(
        vault.answer(revoke(Purpose::Token, id), NOW),
        VaultReply::Done
    );
    let sign = super::taken_over::result(NOW, &chain[0]);
    assert!(matches!(
        vault.answer(sign, NOW),
        VaultReply::Refused(VaultRefusal::NoKey { .. })
    ));
    let last = told(vault);
    assert_eq!(
        last[last.len() - 2..],
        [("token", "revoked"), ("token", "destroyed")]
    );
    // Once, no key of another kind, no key of another role.
    for (whose, purpose) in [
        (vault, Purpose::Token),
        (vault, Purpose::FleetCa),
        (vault, Purpose::TlsClient),
        (&host.vault, Purpose::CardIdentity),
        (&host.vault, Purpose::TlsClient),
    ] {
        refusal(whose.answer(revoke(purpose, id), NOW));
    }
    let ca = newest(vault, Purpose::FleetCa);
    refusal(vault.answer(revoke(Purpose::FleetCa, ca), NOW));
    assert_eq!(newest(vault, Purpose::FleetCa), ca);
}

#[test]
fn rotations_without_end_leave_a_history_that_fits_a_frame() {
    let (_verifier, host, _) = fleet();
    for _ in 0..300 {
        let rotate = VaultRequest::RotateTlsClient { lifetime_s: 3600 };
        certificates(host.vault.answer(rotate, NOW));
    }
    let reply = host.vault.answer(VaultRequest::History, NOW);
    assert!(bartizan_local::encode(&reply).len() < VaultRequest::MAX_FRAME / 4);
    // The card's own are still there.
    assert_eq!(
        told(&host.vault)[..2],
        [("card", "made"), ("card", "certified")]
    );
}
