use bartizan_attestation::certificates::{FleetCa, Subject, Usage, verify_chain};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::identity::GuestIdentity;
use bartizan_attestation::measurement::Digest;
use tempfile::TempDir;

use super::*;
use crate::keyring::StoredKeyring;
use crate::lifetime::YEAR_S;
use crate::software::{RootKey, Software};

mod taken_over;

const NOW: u64 = 1_795_000_000;

struct Opened {
    vault: Vault,
    folder: TempDir,
}

fn open(role: Role) -> Opened {
    let folder = tempfile::tempdir().unwrap();
    Opened {
        vault: again(role, &folder),
        folder,
    }
}

fn again(role: Role, folder: &TempDir) -> Vault {
    let root = RootKey::make_file(&folder.path().join("root.key")).unwrap();
    let backend: Arc<dyn Backend> = Arc::new(Software::new(root));
    let stored = StoredKeyring::read(&folder.path().join("keys")).unwrap();
    Vault::new(role, Arc::clone(&backend), stored.open(backend).unwrap())
}

fn certificates(reply: VaultReply) -> Vec<Vec<u8>> {
    match reply {
        VaultReply::Certificates(chain) => chain.iter().map(|der| der.to_vec()).collect(),
        other => panic!("{other:?}"),
    }
}

fn refusal(reply: VaultReply) -> VaultRefusal {
    match reply {
        VaultReply::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

/// A verifier's and a host's vault, the host enrolled.
fn fleet() -> (Opened, Opened, FleetCa) {
    let (verifier, host) = (open(Role::Verifier), open(Role::Host));
    let ca = VaultRequest::CreateFleetCa {
        name: "fleet".into(),
    };
    let ca = certificates(verifier.vault.answer(ca, NOW)).remove(0);
    let VaultReply::Csr(csr) = host.vault.answer(VaultRequest::CreateCardIdentity, NOW) else {
        panic!("no CSR");
    };
    let issue = VaultRequest::IssueHost {
        csr,
        name: "host-1".into(),
    };
    let chain = certificates(verifier.vault.answer(issue, NOW));
    let chain = chain.into_iter().map(ByteVec::from).collect();
    let install = VaultRequest::InstallCardIdentity {
        chain,
        fleet_ca: ca.clone(),
    };
    certificates(host.vault.answer(install, NOW));
    (verifier, host, FleetCa::from_der(&ca).unwrap())
}

fn guest(host: &Vault) -> GuestIdentity {
    let VaultReply::Description { keys, .. } = host.answer(VaultRequest::Describe, NOW) else {
        panic!("no description");
    };
    let card = keys
        .iter()
        .find(|key| key.purpose == Purpose::CardIdentity)
        .unwrap();
    GuestIdentity {
        card: bartizan_attestation::identity::CardId(*card.id),
        vm: [3; 16],
        boot: 1,
    }
}

#[test]
fn every_certificate_is_what_its_usage_demands() {
    let (verifier, host, ca) = fleet();
    let csr = || EphemeralKey::generate().unwrap().csr().unwrap();
    let (guest, launch_measurement) = (guest(&host.vault), Digest(vec![9; 48]));
    let names = vec!["localhost".into(), "127.0.0.1".into()];
    let issued = [
        (
            Usage::Operator,
            verifier.vault.answer(
                VaultRequest::IssueOperator {
                    csr: csr(),
                    name: "alice".into(),
                },
                NOW,
            ),
        ),
        (
            Usage::TlsServer,
            verifier.vault.answer(
                VaultRequest::RotateTlsServer {
                    names,
                    lifetime_s: 60,
                },
                NOW,
            ),
        ),
        (
            Usage::Token,
            verifier
                .vault
                .answer(VaultRequest::RotateToken { lifetime_s: 60 }, NOW),
        ),
        (
            Usage::TlsClient,
            host.vault
                .answer(VaultRequest::RotateTlsClient { lifetime_s: 60 }, NOW),
        ),
        (
            Usage::ReportKey,
            host.vault.answer(
                VaultRequest::CertifyReportKey {
                    csr: csr(),
                    guest,
                    launch_measurement: launch_measurement.clone(),
                    lifetime_s: 60,
                },
                NOW,
            ),
        ),
        (
            Usage::GuestKey,
            host.vault.answer(
                VaultRequest::CertifyGuestKey {
                    csr: csr(),
                    guest,
                    launch_measurement,
                    lifetime_s: 60,
                },
                NOW,
            ),
        ),
    ];
    for (usage, reply) in issued {
        let verified = verify_chain(&certificates(reply), &ca, NOW, usage).unwrap();
        assert_eq!(
            verified.not_after,
            if usage == Usage::Operator {
                NOW + YEAR_S
            } else {
                NOW + 60
            }
        );
        if usage == Usage::ReportKey {
            assert_eq!(verified.subject, Subject::Measurer(guest));
            assert_eq!(verified.launch_measurement, Some(Digest(vec![9; 48])));
        }
    }
}

#[test]
fn no_certificate_lasts_longer_than_its_usage_may() {
    const HOUR_S: u64 = 3600;
    let (verifier, host, ca) = fleet();
    let guest = guest(&host.vault);
    let ask = |usage, lifetime_s| {
        let csr = EphemeralKey::generate().unwrap().csr().unwrap();
        let launch_measurement = Digest(vec![9; 48]);
        match usage {
            Usage::TlsClient => {
                (host.vault).answer(VaultRequest::RotateTlsClient { lifetime_s }, NOW)
            }
            Usage::ReportKey => {
                let request = VaultRequest::CertifyReportKey {
                    csr,
                    guest,
                    launch_measurement,
                    lifetime_s,
                };
                host.vault.answer(request, NOW)
            }
            Usage::GuestKey => {
                let request = VaultRequest::CertifyGuestKey {
                    csr,
                    guest,
                    launch_measurement,
                    lifetime_s,
                };
                host.vault.answer(request, NOW)
            }
            Usage::TlsServer => {
                let names = vec!["localhost".into()];
                let request = VaultRequest::RotateTlsServer { names, lifetime_s };
                verifier.vault.answer(request, NOW)
            }
            _ => (verifier.vault).answer(VaultRequest::RotateToken { lifetime_s }, NOW),
        }
    };
    for (usage, longest_s) in [
        (Usage::TlsClient, HOUR_S),
        (Usage::ReportKey, HOUR_S),
        (Usage::GuestKey, 24 * HOUR_S),
        (Usage::TlsServer, 7 * 24 * HOUR_S),
        (Usage::Token, 7 * 24 * HOUR_S),
    ] {
        let chain = certificates(ask(usage, longest_s));
        let verified = verify_chain(&chain, &ca, NOW, usage).unwrap();
        assert_eq!(verified.not_after, NOW + longest_s, "{usage:?}");
        for wrong in [0, longest_s + 1, u64::MAX] {
            let refused = refusal(ask(usage, wrong));
            assert!(matches!(refused, VaultRefusal::NotSignable(_)), "{usage:?}");
        }
    }
}

#[test]
fn a_role_has_no_keys_of_the_other() {
    let (verifier, host, _) = fleet();
    let wrong = |reply| matches!(refusal(reply), VaultRefusal::WrongRole { .. });
    assert!(wrong(
        host.vault
            .answer(VaultRequest::CreateFleetCa { name: "x".into() }, NOW)
    ));
    assert!(wrong(
        host.vault
            .answer(VaultRequest::RotateToken { lifetime_s: 1 }, NOW)
    ));
    assert!(wrong(host.vault.answer(
        VaultRequest::SignToken {
            claims: "{}".into(),
            certificate: Vec::new(),
        },
        NOW
    )));
    assert!(wrong(
        verifier.vault.answer(VaultRequest::CreateCardIdentity, NOW)
    ));
    assert!(wrong(
        verifier
            .vault
            .answer(VaultRequest::RotateTlsClient { lifetime_s: 1 }, NOW)
    ));
}

#[test]
fn a_card_certifies_its_own_guests_only() {
    let (_, host, _) = fleet();
    let mut other = guest(&host.vault);
    other.card.0[0] ^= 1;
    let csr = EphemeralKey::generate().unwrap().csr().unwrap();
    let launch_measurement = Digest(vec![9; 48]);
    let request = VaultRequest::CertifyGuestKey {
        csr,
        guest: other,
        launch_measurement,
        lifetime_s: 60,
    };
    assert!(matches!(
        refusal(host.vault.answer(request, NOW)),
        VaultRefusal::NotSignable(_)
    ));
}

#[test]
fn a_tls_key_signs_handshakes_with_its_live_certificate_only() {
    let (_, host, ca) = fleet();
    let chain = certificates(
        host.vault
            .answer(VaultRequest::RotateTlsClient { lifetime_s: 60 }, NOW),
    );
    let handshake = [
        &[0x20; 64],
        b"TLS 1.3, client CertificateVerify\0".as_slice(),
        &[7; 48],
    ]
    .concat();
    let sign = |certificate: &[u8], message: &[u8], now| {
        let (certificate, message) = (certificate.to_vec(), message.to_vec());
        host.vault.answer(
            VaultRequest::SignTls {
                purpose: Purpose::TlsClient,
                certificate,
                message,
            },
            now,
        )
    };
    let VaultReply::Signature(signature) = sign(&chain[0], &handshake, NOW) else {
        panic!()
    };
    let key = verify_chain(&chain, &ca, NOW, Usage::TlsClient)
        .unwrap()
        .public_key;
    assert!(key.verify_der(&handshake, &signature).is_ok());
    // A report's Sig_structure, or anything else, is not signed.
    let refused = refusal(sign(&chain[0], b"\x84\x6aSignature1", NOW));
    assert!(matches!(refused, VaultRefusal::NotSignable(_)));
    assert!(matches!(
        refusal(sign(&chain[1], &handshake, NOW)),
        VaultRefusal::NoKey { .. }
    ));
    assert!(matches!(
        refusal(sign(&chain[0], &handshake, NOW + 61)),
        VaultRefusal::NotSignable(_)
    ));
}

#[test]
fn keys_and_their_overlap_survive_a_restart() {
    let (_, host, _) = fleet();
    let rotate = || VaultRequest::RotateTlsClient { lifetime_s: 60 };
    let first = certificates(host.vault.answer(rotate(), NOW));
    let second = certificates(host.vault.answer(rotate(), NOW + 30));
    let Opened { vault, folder } = host;
    drop(vault);
    let vault = again(Role::Host, &folder);
    let message = [
        &[0x20; 64],
        b"TLS 1.3, client CertificateVerify\0".as_slice(),
        &[7; 32],
    ]
    .concat();
    for certificate in [&first[0], &second[0]] {
        let request = VaultRequest::SignTls {
            purpose: Purpose::TlsClient,
            certificate: certificate.clone(),
            message: message.clone(),
        };
        assert!(matches!(
            vault.answer(request, NOW + 31),
            VaultReply::Signature(_)
        ));
    }
}

#[test]
fn rotations_without_end_leave_an_answer_that_fits_a_frame() {
    let (_verifier, host, _) = fleet();
    let rotate = || {
        certificates(
            host.vault
                .answer(VaultRequest::RotateTlsClient { lifetime_s: 3600 }, NOW),
        )
    };
    for _ in 0..100 {
        rotate();
    }
    let newest = rotate();
    let reply = host.vault.answer(VaultRequest::Describe, NOW);
    assert!(bartizan_local::encode(&reply).len() < VaultRequest::MAX_FRAME);
    let VaultReply::Description { keys, .. } = reply else {
        panic!("no description");
    };
    assert_eq!(keys[0].purpose, Purpose::CardIdentity);
    assert_eq!(keys.last().unwrap().chain[0].as_slice(), newest[0]);
}

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
        let chain = certificates(
            verifier
                .vault
                .answer(VaultRequest::IssueHost { csr, name }, NOW),
        );
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
        let issue = VaultRequest::IssueHost { csr, name };
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

#[test]
fn a_csr_without_proof_of_possession_is_refused() {
    let (verifier, _, _) = fleet();
    let mut csr = EphemeralKey::generate().unwrap().csr().unwrap();
    let last = csr.len() - 1;
    csr[last] ^= 1;
    let request = VaultRequest::IssueHost {
        csr,
        name: "host-3".into(),
    };
    assert!(matches!(
        refusal(verifier.vault.answer(request, NOW)),
        VaultRefusal::NotSignable(_)
    ));
}
