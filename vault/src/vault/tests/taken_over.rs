//! What a verifier that was taken over asks its vault for.

use std::sync::atomic::Ordering;

use bartizan_attestation::result::check_claims_json;

use super::watched::Watched;
use super::*;

fn key() -> (EphemeralKey, Vec<u8>) {
    let key = EphemeralKey::generate().unwrap();
    let csr = key.csr().unwrap();
    (key, csr)
}

fn begun() -> Opened {
    let verifier = open(Role::Verifier);
    let name = "fleet".into();
    let ca = VaultRequest::CreateFleetCa { name };
    certificates(verifier.vault.answer(ca, NOW));
    verifier
}

fn ask(vault: &Vault, csr: &[u8], name: &str, now: u64) -> VaultReply {
    let (csr, name) = (csr.to_vec(), name.to_owned());
    vault.answer(VaultRequest::IssueOperator { csr, name }, now)
}

fn is_unnamed(reply: VaultReply) -> bool {
    matches!(refusal(reply), VaultRefusal::UnnamedOperator { .. })
}

#[test]
fn a_begun_fleet_gets_no_operator_more_by_asking() {
    let verifier = begun();
    let ((_, alice), (_, mallory)) = (key(), key());
    certificates(ask(&verifier.vault, &alice, "alice", NOW));
    assert!(is_unnamed(ask(&verifier.vault, &mallory, "mallory", NOW)));
    assert!(is_unnamed(ask(&verifier.vault, &mallory, "alice", NOW)));
    assert!(is_unnamed(ask(&verifier.vault, &alice, "root", NOW)));
    // A lost answer, or a certificate near its end, is no reason to lose the fleet.
    certificates(ask(&verifier.vault, &alice, "alice", NOW + YEAR_S));

    let Opened { vault, folder } = verifier;
    drop(vault);
    let vault = again(Role::Verifier, &folder);
    assert!(is_unnamed(ask(&vault, &mallory, "mallory", NOW)));
    certificates(ask(&vault, &alice, "alice", NOW));
}

#[test]
fn the_beginning_of_a_fleet_does_not_last() {
    let verifier = begun();
    let (_, alice) = key();
    let late = NOW + 3601;
    assert!(is_unnamed(ask(&verifier.vault, &alice, "alice", late)));
    let in_time = ask(&verifier.vault, &alice, "alice", NOW + 3600);
    certificates(in_time);
    let without_ca = open(Role::Verifier);
    assert!(is_unnamed(ask(&without_ca.vault, &alice, "alice", NOW)));
}

#[test]
fn the_vaults_own_configuration_names_further_operators() {
    let Opened { vault, folder } = begun();
    let ((_, alice), (bob, bobs), (_, mallory)) = (key(), key(), key());
    certificates(ask(&vault, &alice, "alice", NOW));
    drop(vault);
    let bob = NamedOperator {
        name: "bob".into(),
        key_sha256: hex(&bob.public_key().sha256()),
        role: bartizan_attestation::certificates::Role::Observer,
    };
    let vault = again(Role::Verifier, &folder).with_operators(vec![bob]);
    certificates(ask(&vault, &bobs, "bob", NOW + YEAR_S));
    assert!(is_unnamed(ask(&vault, &bobs, "alice", NOW)));
    assert!(is_unnamed(ask(&vault, &mallory, "bob", NOW)));
}

/// Makes a token key that lasts an hour; answers its certificate.
fn rotate_token(vault: &Vault, now: u64) -> Vec<u8> {
    let rotate = VaultRequest::RotateToken { lifetime_s: 3600 };
    certificates(vault.answer(rotate, now)).remove(0)
}

/// A result of `iat`, to be signed by the key of `certificate`.
pub(super) fn result(iat: u64, certificate: &[u8]) -> VaultRequest {
    let json = include_str!("../../../../fuzz/corpus/claims/affirming");
    let mut claims = check_claims_json(json).unwrap();
    (claims.iat, claims.nbf, claims.exp) = (iat, iat, iat + 300);
    VaultRequest::SignToken {
        claims: claims.to_json(),
        certificate: certificate.to_vec(),
    }
}

#[test]
fn a_result_is_signed_by_the_key_that_is_named() {
    let verifier = begun();
    let (old, new) = (
        rotate_token(&verifier.vault, NOW),
        rotate_token(&verifier.vault, NOW + 1),
    );
    let signer =
        |certificate: &[u8], now| match verifier.vault.answer(result(now, certificate), now) {
            VaultReply::Token(token) => Ok(token.split('.').next().unwrap().to_owned()),
            other => Err(refusal(other)),
        };
    let names = |certificate: &[u8]| {
        let input = bartizan_attestation::result::signing_input(certificate, "{}");
        input.split('.').next().unwrap().to_owned()
    };
    for key in [&old, &new] {
        assert_eq!(signer(key, NOW + 1).unwrap(), names(key));
    }
    assert!(matches!(
        signer(&old, NOW + 3601),
        Err(VaultRefusal::NotSignable(_))
    ));
    let VaultReply::Description { fleet_ca, .. } =
        verifier.vault.answer(VaultRequest::Describe, NOW)
    else {
        panic!("no description");
    };
    let no_token_key = VaultRefusal::NoKey {
        purpose: Purpose::Token,
    };
    assert_eq!(signer(&fleet_ca.unwrap(), NOW), Err(no_token_key));
}

#[test]
fn no_token_key_is_dropped_whose_results_may_be_valid() {
    let verifier = begun();
    let first = rotate_token(&verifier.vault, NOW);
    for _ in 1..MAX_OVERLAP {
        rotate_token(&verifier.vault, NOW + 60);
    }
    let rotate = |now| {
        let rotate = VaultRequest::RotateToken { lifetime_s: 3600 };
        verifier.vault.answer(rotate, now)
    };
    let (purpose, keys) = (Purpose::Token, 32);
    assert_eq!(
        refusal(rotate(NOW + 3600)),
        VaultRefusal::Overlap { purpose, keys }
    );
    let signed = verifier
        .vault
        .answer(result(NOW + 3600, &first), NOW + 3600);
    assert!(matches!(signed, VaultReply::Token(_)));
    // The oldest has had its time.
    certificates(rotate(NOW + 3601));
}

#[test]
fn a_token_key_that_is_refused_costs_no_signature_of_the_fleet_ca() {
    let Opened { vault, folder } = begun();
    for _ in 0..MAX_OVERLAP {
        rotate_token(&vault, NOW);
    }
    drop(vault);
    let (vault, watched) = Watched::again(Role::Verifier, &folder);
    let uses = || watched.uses.load(Ordering::SeqCst);
    let rotate = VaultRequest::RotateToken { lifetime_s: 3600 };
    let refused = refusal(vault.answer(rotate, NOW));
    assert!(matches!(refused, VaultRefusal::Overlap { .. }));
    assert_eq!(uses(), 0);
    rotate_token(&vault, NOW + 3601);
    assert_eq!(uses(), 2, "the key, and its certificate");
}

#[test]
fn results_are_signed_for_now_and_not_for_later() {
    let verifier = begun();
    let key = rotate_token(&verifier.vault, NOW);
    let sign = |iat| verifier.vault.answer(result(iat, &key), NOW);
    for now in [NOW - 60, NOW, NOW + 60] {
        assert!(matches!(sign(now), VaultReply::Token(_)));
    }
    for other in [0, NOW - 61, NOW + 61, NOW + 3000, u64::MAX - 300] {
        assert!(matches!(refusal(sign(other)), VaultRefusal::NotSignable(_)));
    }
}
