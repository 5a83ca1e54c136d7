use bartizan_attestation::certificates::{FleetCa, Subject, Usage, verify_chain};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::identity::GuestIdentity;
use bartizan_attestation::keys::{KeyEventKind, NextKey, VaultKind};
use bartizan_attestation::measurement::Digest;
use tempfile::TempDir;

use super::*;
use crate::keyring::StoredKeyring;
use crate::lifetime::YEAR_S;
use crate::software::{RootKey, Software};

mod certificates;
mod clock;
mod counter;
mod enclave_state;
mod enrolment;
mod fleet_cas;
mod history;
mod measured_boot;
mod rotation;
mod sealing;
mod succession;
mod taken_over;
mod watched;

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
        vault: VaultKind::Software,
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
        .find(|key| key.purpose == Purpose::CardIdentity && !key.chain.is_empty())
        .unwrap();
    let card = Subject::in_certificate(&card.chain[0], Usage::Card).unwrap();
    GuestIdentity {
        card: card.card().unwrap(),
        vm: [3; 16],
        boot: 1,
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
