//! Keys that were rotated, and their overlap.

use super::*;

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
