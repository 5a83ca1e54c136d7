//! A card's identity: enrolled, renewed, and nobody else's.

use super::*;

#[test]
fn an_enrolment_that_failed_can_be_begun_anew() {
    let (verifier, host) = (open(Role::Verifier), open(Role::Host));
    let name = "fleet".into();
    let ca = certificates(
        verifier
            .vault
            .answer(VaultRequest::CreateFleetCa { name }, NOW),
    )
    .remove(0);
    let begin = || match host.vault.answer(VaultRequest::CreateCardIdentity, NOW) {
        VaultReply::Csr(csr) => csr,
        other => panic!("{other:?}"),
    };
    let install = |csr| {
        let name = "host-1".into();
        let chain = certificates(verifier.vault.answer(
            VaultRequest::IssueHost {
                csr,
                name,
                vault: VaultKind::Software,
            },
            NOW,
        ));
        let chain = chain.into_iter().map(ByteVec::from).collect();
        let fleet_ca = ca.clone();
        host.vault
            .answer(VaultRequest::InstallCardIdentity { chain, fleet_ca }, NOW)
    };
    let (given_up, csr) = (begin(), begin());
    // Its key made way for the second one.
    assert!(matches!(
        refusal(install(given_up)),
        VaultRefusal::NoKey { .. }
    ));
    certificates(install(csr));
    let rotate = VaultRequest::RotateTlsClient { lifetime_s: 60 };
    certificates(host.vault.answer(rotate, NOW));
}

#[test]
fn a_card_identity_is_renewed_with_the_key_that_it_has() {
    let (verifier, host, ca) = fleet();
    let csr = |now| match host.vault.answer(VaultRequest::RenewCardIdentity, now) {
        VaultReply::Csr(csr) => csr,
        other => panic!("{other:?}"),
    };
    let issue = |csr: Vec<u8>, now| {
        let name = "host-1".into();
        let issue = VaultRequest::IssueHost {
            csr,
            name,
            vault: VaultKind::Software,
        };
        let chain = certificates(verifier.vault.answer(issue, now));
        chain.into_iter().map(ByteVec::from).collect::<Chain>()
    };
    let install = |chain, fleet_ca: &[u8], now| {
        let fleet_ca = fleet_ca.to_vec();
        let install = VaultRequest::InstallCardIdentity { chain, fleet_ca };
        host.vault.answer(install, now)
    };
    let half = NOW + YEAR_S / 2;
    let (before, stale) = (guest(&host.vault), issue(csr(NOW), NOW - 60));
    certificates(install(issue(csr(half), half), ca.der(), half));
    assert_eq!(guest(&host.vault), before, "the card is the same");
    let is_refused = |reply| matches!(refusal(reply), VaultRefusal::NotSignable(_));
    assert!(is_refused(install(stale, ca.der(), half)), "an earlier end");
    // By whoever made a fleet of their own and has the card's process.
    let (other, theirs) = (open(Role::Verifier), "theirs".into());
    let theirs = VaultRequest::CreateFleetCa { name: theirs };
    let theirs = certificates(other.vault.answer(theirs, NOW)).remove(0);
    let issue = VaultRequest::IssueHost {
        csr: csr(half),
        name: "host-1".into(),
        vault: VaultKind::Software,
    };
    let foreign = certificates(other.vault.answer(issue, half + 1));
    let foreign = foreign.into_iter().map(ByteVec::from).collect();
    assert!(
        is_refused(install(foreign, &theirs, half + 1)),
        "another fleet"
    );

    // What the card certifies when the first certificate has ended, and after a restart.
    let Opened { vault, folder } = host;
    drop(vault);
    let (vault, late) = (again(Role::Host, &folder), NOW + YEAR_S + 1);
    let rotate = VaultRequest::RotateTlsClient { lifetime_s: 60 };
    let chain = certificates(vault.answer(rotate, late));
    verify_chain(&chain, &ca, late, Usage::TlsClient).unwrap();
}

#[test]
fn nothing_is_renewed_that_was_not_enrolled() {
    let host = open(Role::Host);
    let no_identity = |reply| matches!(refusal(reply), VaultRefusal::NoKey { .. });
    let renew = || host.vault.answer(VaultRequest::RenewCardIdentity, NOW);
    assert!(no_identity(renew()));
    host.vault.answer(VaultRequest::CreateCardIdentity, NOW);
    assert!(no_identity(renew()), "it waits for its first certificate");
    let verifier = open(Role::Verifier);
    let refused = verifier.vault.answer(VaultRequest::RenewCardIdentity, NOW);
    assert!(matches!(refusal(refused), VaultRefusal::WrongRole { .. }));
}

#[test]
fn a_chain_for_another_key_is_not_installed() {
    let (verifier, host) = (open(Role::Verifier), open(Role::Host));
    let ca = VaultRequest::CreateFleetCa {
        name: "fleet".into(),
    };
    let ca = certificates(verifier.vault.answer(ca, NOW)).remove(0);
    host.vault.answer(VaultRequest::CreateCardIdentity, NOW);
    let csr = EphemeralKey::generate().unwrap().csr().unwrap();
    let issue = VaultRequest::IssueHost {
        csr,
        name: "host-2".into(),
        vault: VaultKind::Software,
    };
    let chain = certificates(verifier.vault.answer(issue, NOW));
    let chain = chain.into_iter().map(ByteVec::from).collect();
    let install = VaultRequest::InstallCardIdentity {
        chain,
        fleet_ca: ca,
    };
    assert!(matches!(
        refusal(host.vault.answer(install, NOW)),
        VaultRefusal::NoKey { .. }
    ));
}
