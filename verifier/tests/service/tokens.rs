//! Results and the keys that sign them.

use std::sync::Arc;
use std::time::Instant;

use axum::http::StatusCode;
use bartizan_attestation::digest::sha256;
use bartizan_attestation::keys::VaultRequest;
use bartizan_attestation::result::{Expectation, verify_token};
use bartizan_verifier::anchors::Anchors;
use bartizan_verifier::binary::Binary;
use bartizan_verifier::clock::now_s;
use bartizan_verifier::peer::Peer;
use bartizan_verifier::rotation::Rotates as _;
use bartizan_verifier::token_keys::{TokenKeys, TokenKeysError};
use bartizan_verifier::vault::Vault;
use serde_json::{Value, json};

use crate::bench::{Bench, operator, problem};
use crate::fleet::Authority;
use crate::host::Host;
use crate::process::DEADLINE;
use crate::stand_in_vault::StandInVault;

fn chains(document: &Value) -> Vec<Vec<Vec<u8>>> {
    let chain = |chain: &Value| -> Vec<Vec<u8>> {
        let certificates = chain.as_array().unwrap().iter();
        certificates
            .map(|der| Binary::decode(der.as_str().unwrap()).unwrap())
            .collect()
    };
    document["token_certificates"]
        .as_array()
        .unwrap()
        .iter()
        .map(chain)
        .collect()
}

#[tokio::test]
async fn a_token_verifies_with_the_published_keys_before_and_after_a_rotation() {
    let bench = Bench::start().await;
    let host = Host::enrolled(&bench.vault.fleet);
    let guest = host.guest(1, 1);
    let request = guest.signed(&guest.request(bench.nonce(&host, &guest).await, "nginx"));
    let report = guest.sealed(&guest.report(request.clone()));
    let (_, answer) = bench.submit(&host, &guest, &report).await;
    let token = answer["token"].as_str().unwrap();

    let expectation = Expectation {
        audience: "relying.example",
        guest: guest.identity,
        guest_nonce: [9; 32],
        request_digest: sha256(&request),
        application: "nginx",
        key_thumbprint: guest.key.public_key().thumbprint(),
        now_s: now_s(),
    };
    let ca = bench.vault.fleet.ca();
    let (_, before) = bench.get(&Peer::Anonymous, "/v1/token-certificates").await;
    verify_token(token, &chains(&before), &ca, &expectation).unwrap();

    let (status, rotated) = bench
        .post(&operator(), "/v1/keys/token/rotate", Value::Null)
        .await;
    assert_eq!(status, StatusCode::OK, "{rotated}");
    let (_, after) = bench.get(&Peer::Anonymous, "/v1/token-certificates").await;
    assert_eq!((chains(&before).len(), chains(&after).len()), (1, 2));
    verify_token(token, &chains(&after), &ca, &expectation).unwrap();
    let newest = &chains(&after)[0][0];
    assert_eq!(rotated["kid"], Binary::encode(&sha256(newest)));
    assert!(verify_token(token, &chains(&after)[..1], &ca, &expectation).is_err());
}

/// A result, and whether it verifies with what is published now.
async fn verifies(bench: &Bench) -> bool {
    let host = Host::enrolled(&bench.vault.fleet);
    let guest = host.guest(1, 1);
    let request = guest.signed(&guest.request(bench.nonce(&host, &guest).await, "nginx"));
    let report = guest.sealed(&guest.report(request.clone()));
    let (_, answer) = bench.submit(&host, &guest, &report).await;
    let expectation = Expectation {
        audience: "relying.example",
        guest: guest.identity,
        guest_nonce: [9; 32],
        request_digest: sha256(&request),
        application: "nginx",
        key_thumbprint: guest.key.public_key().thumbprint(),
        now_s: now_s(),
    };
    let published = published(bench).await;
    let ca = bench.vault.fleet.ca();
    verify_token(
        answer["token"].as_str().unwrap(),
        &published,
        &ca,
        &expectation,
    )
    .is_ok()
}

async fn published(bench: &Bench) -> Vec<Vec<Vec<u8>>> {
    let path = "/v1/token-certificates";
    chains(&bench.get(&Peer::Anonymous, path).await.1)
}

#[tokio::test]
async fn a_key_that_is_not_published_signs_nothing() {
    let bench = Bench::start().await;
    let rotate = VaultRequest::RotateToken { lifetime_s: 3600 };
    let behind_its_back = Vault::new(bench.vault.socket.clone());
    behind_its_back.certificates(rotate).await.unwrap();
    assert_eq!(published(&bench).await.len(), 1);
    assert!(verifies(&bench).await);
}

#[tokio::test]
async fn a_rotation_whose_answer_is_lost_leaves_its_keys_published() {
    let bench = Bench::start().await;
    bench.vault.lose_answers(true);
    let path = "/v1/keys/token/rotate";
    let lost = bench.post(&operator(), path, Value::Null).await;
    assert_eq!(problem(&lost), "vault-away");
    // The one of before, and one for each of the link's two tries.
    assert_eq!(published(&bench).await.len(), 3);
    assert!(verifies(&bench).await);
}

#[tokio::test]
async fn as_many_keys_as_there_may_be_keep_no_verifier_from_starting() {
    let directory = tempfile::tempdir().unwrap();
    let stand_in = StandInVault::start(directory.path(), Authority::fleet());
    let vault = Vault::new(stand_in.socket.clone());
    // The stand-in's keys begin a minute ago: these are in the second half of their life at once.
    let anchors = Arc::new(Anchors::open(vault.clone()).await.unwrap());
    let open = || TokenKeys::open(vault.clone(), Arc::clone(&anchors), 30);
    let kids = |keys: &TokenKeys| -> Vec<_> {
        let published = keys.published().into_iter();
        published.map(|key| key.sha256).collect()
    };
    stand_in.fill(true);
    let without_any = open().await.map(drop);
    assert!(matches!(without_any, Err(TokenKeysError::Vault(_))));
    stand_in.fill(false);
    let before = kids(&open().await.unwrap());
    assert_eq!(before.len(), 1);
    stand_in.fill(true);
    let restarted = open().await.unwrap();
    assert_eq!(kids(&restarted), before);
    stand_in.fill(false);
    restarted.rotate().await.unwrap();
    assert_eq!(kids(&restarted).len(), 2);
}

#[tokio::test]
async fn a_rotation_is_ended_though_the_operator_went_away() {
    let bench = Bench::start().await;
    bench.vault.making.hold(true);
    let path = "/v1/keys/token/rotate";
    let ann = operator();
    let memory = &bench.service.memory;
    let whole = memory.free();
    let asked = bench.post(&ann, path, Value::Null);
    bench.until_waiting(&bench.vault.making, asked, 1).await;
    // Whoever asks and goes away in a loop has no end of tasks otherwise.
    assert!(memory.free() < whole);
    bench.vault.making.hold(false);
    let until = Instant::now() + DEADLINE;
    while published(&bench).await.len() < 2 {
        assert!(Instant::now() < until, "the new key is not published");
        tokio::task::yield_now().await;
    }
    assert!(verifies(&bench).await);
}

#[tokio::test]
async fn the_key_set_names_keys_as_the_tokens_do() {
    let bench = Bench::start().await;
    let (status, set) = bench.get(&Peer::Anonymous, "/.well-known/jwks.json").await;
    assert_eq!(status, StatusCode::OK);
    let key = &set["keys"][0];
    let (_, certificates) = bench.get(&Peer::Anonymous, "/v1/token-certificates").await;
    let leaf = &chains(&certificates)[0][0];
    assert_eq!(key["kid"], Binary::encode(&sha256(leaf)));
    assert_eq!(key["x5t#S256"], key["kid"]);
    let fixed = json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig"});
    for (member, value) in fixed.as_object().unwrap() {
        assert_eq!(&key[member], value);
    }
    assert_eq!(key["x5c"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_open_documents_are_served() {
    let bench = Bench::start().await;
    let (_, ca) = bench.get(&Peer::Anonymous, "/v1/fleet-ca").await;
    assert_eq!(ca["fleet_ca"], Binary::encode(bench.vault.fleet.ca().der()));
    let (_, description) = bench.get(&Peer::Anonymous, "/openapi.json").await;
    assert_eq!(description["openapi"], "3.1.0");
    assert_eq!(
        bench.get(&Peer::Anonymous, "/healthz").await.0,
        StatusCode::NO_CONTENT
    );
}
