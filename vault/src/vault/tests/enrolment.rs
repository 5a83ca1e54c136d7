//! A card's identity: enrolled, and nobody else's.

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

/// Known attack: the verifier makes a host another one, or has it take another's place.
#[test]
fn a_first_certificate_names_the_card_by_its_key() {
    let (verifier, first, ca) = fleet();
    let begun = super::succession::begun(&first.vault, NextKey::New, NOW);
    let succession = begun.signed.to_vec();
    let issued = VaultRequest::IssueSuccessor { succession };
    let chain = certificates(verifier.vault.answer(issued, NOW));
    // The next key of that host, in another host's store, where it is the first.
    let copied = tempfile::tempdir().unwrap();
    for file in ["keys", "root.key"] {
        std::fs::copy(first.folder.path().join(file), copied.path().join(file)).unwrap();
    }
    let root = RootKey::make_file(&copied.path().join("root.key")).unwrap();
    let backend: Arc<dyn Backend> = Arc::new(Software::new(root));
    let stored = StoredKeyring::read(&copied.path().join("keys")).unwrap();
    let full = stored.open(Arc::clone(&backend)).unwrap();
    let waiting = full.successor().cloned().unwrap();
    let stored = StoredKeyring::read(&copied.path().join("empty")).unwrap();
    let mut empty = stored.open(Arc::clone(&backend)).unwrap();
    empty.add(waiting, NOW).unwrap();
    let other = Vault::new(Role::Host, backend, empty);
    let install = VaultRequest::InstallCardIdentity {
        chain: chain.into_iter().map(ByteVec::from).collect(),
        fleet_ca: ca.der().to_vec(),
    };
    let refused = refusal(other.answer(install, NOW));
    assert!(matches!(refused, VaultRefusal::NotSignable(_)), "{refused}");
}
