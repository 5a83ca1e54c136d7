//! The keys of the verifier's vault, at the API.

use axum::http::{Method, StatusCode};
use bartizan_attestation::certificates::Role;
use bartizan_verifier::clock::now_s;
use bartizan_verifier::peer::Peer;
use serde_json::{Value, json};

use crate::bench::{Bench, operator, problem};
use crate::fleet::Authority;
use crate::process::{Verifier, configure, connect, exchange, operator_client};
use crate::stand_in_vault::StandInVault;

async fn keys(bench: &Bench, kind: &str) -> Vec<Value> {
    let (status, answer) = bench.get(&operator(), "/v1/keys").await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let keys = answer["keys"].as_array().unwrap().iter();
    keys.filter(|key| key["kind"] == kind).cloned().collect()
}

fn current(keys: &[Value]) -> &Value {
    let current: Vec<_> = keys.iter().filter(|key| key["current"] == true).collect();
    assert_eq!(current.len(), 1, "{keys:?}");
    current[0]
}

async fn revoke(bench: &Bench, kind: &str, id: &str) -> (StatusCode, Value) {
    let path = format!("/v1/keys/{kind}/{id}");
    bench
        .call(&operator(), Method::DELETE, &path, Value::Null)
        .await
}

#[tokio::test]
async fn each_kind_is_rotated_and_listed() {
    let bench = Bench::start().await;
    for kind in ["token", "tls-server"] {
        let before = keys(&bench, kind).await;
        assert_eq!(before.len(), 1);
        let path = format!("/v1/keys/{kind}/rotate");
        let (status, rotated) = bench.post(&operator(), &path, Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{rotated}");
        let after = keys(&bench, kind).await;
        assert_eq!(after.len(), 2);
        assert_eq!(current(&after)["certificate"], rotated["certificate"]);
        assert_eq!(current(&after)["not_after"], rotated["not_after"]);
        assert_ne!(current(&after)["id"], current(&before)["id"]);
    }
}

#[tokio::test]
async fn a_revoked_key_is_gone_and_another_is_used() {
    let bench = Bench::start().await;
    for kind in ["token", "tls-server"] {
        let before = keys(&bench, kind).await;
        let id = before[0]["id"].as_str().unwrap();
        let (status, refused) = revoke(&bench, kind, id).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{refused}");
        let after = keys(&bench, kind).await;
        assert_eq!(after.len(), 1);
        assert_ne!(current(&after)["id"], before[0]["id"]);
        assert_eq!(problem(&revoke(&bench, kind, id).await), "no-key");
    }
    let (_, published) = bench.get(&Peer::Anonymous, "/v1/token-certificates").await;
    assert_eq!(published["token_certificates"].as_array().unwrap().len(), 1);
}

/// Known attack: whoever has a token key makes as many as there may be, so that theirs cannot be replaced.
#[tokio::test]
async fn a_key_is_revoked_where_there_is_no_room_for_another() {
    let bench = Bench::start().await;
    let path = "/v1/keys/token/rotate";
    bench.post(&operator(), path, Value::Null).await;
    bench.vault.fill(true);
    let before = keys(&bench, "token").await;
    let newest = current(&before)["id"].as_str().unwrap();
    let (status, refused) = revoke(&bench, "token", newest).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{refused}");
    let after = keys(&bench, "token").await;
    assert_eq!(after.len(), 1);
    assert_ne!(current(&after)["id"], newest);
    // The only one is not.
    let last = current(&after)["id"].as_str().unwrap();
    let refused = revoke(&bench, "token", last).await;
    assert_eq!(problem(&refused), "too-many-valid-keys");
}

/// It may have been done: it is not asked for again, and who wanted it is in the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_sealing_keys_rotation_whose_answer_is_lost_is_logged_and_not_done_twice() {
    let directory = tempfile::tempdir().unwrap();
    let vault = StandInVault::start(directory.path(), Authority::fleet());
    let verifier = Verifier::start(&configure(directory.path(), &vault.socket, ""));
    let mut as_ann = connect(&operator_client(&vault.fleet), verifier.address).await;
    let path = "/v1/keys/sealing/rotate";
    let done = exchange(&mut as_ann, "POST", path, Value::Null).await;
    assert_eq!((done.unwrap().0, vault.sealed_anew()), (204, 1));
    vault.lose_answers(true);
    let (_, refused) = exchange(&mut as_ann, "POST", path, Value::Null)
        .await
        .unwrap();
    assert_eq!(refused["type"], "urn:bartizan:problem:vault-away");
    assert_eq!(vault.sealed_anew(), 2);
    let logging = move || verifier.until_said("sealing key not rotated, or not known to be");
    let logged = tokio::task::spawn_blocking(logging).await.unwrap();
    assert_eq!(
        (&logged["level"], &logged["fields"]["operator"]),
        (&json!("WARN"), &json!("ann"))
    );
}

#[tokio::test]
async fn the_history_is_told_in_pages() {
    let bench = Bench::start().await;
    let (_, all) = bench.get(&operator(), "/v1/keys/history").await;
    assert_eq!(all["next"], Value::Null);
    let events = all["events"].as_array().unwrap();
    assert_eq!(
        events[1],
        json!({"number": 1, "at_s": 1001, "kind": "token", "id": "07".repeat(32), "event": "certified",
               "certificate": "08".repeat(32), "not_after": 9})
    );
    let (_, first) = bench.get(&operator(), "/v1/keys/history?limit=2").await;
    assert_eq!(first["events"].as_array().unwrap()[..], events[..2]);
    let next = first["next"].as_str().unwrap();
    let path = format!("/v1/keys/history?limit=2&after={next}");
    let (_, rest) = bench.get(&operator(), &path).await;
    assert_eq!(rest["events"].as_array().unwrap()[..], events[2..]);
    assert_eq!(rest["next"], Value::Null);
}

#[tokio::test]
async fn what_names_no_key_is_refused() {
    let bench = Bench::start().await;
    for id in ["x".to_owned(), "A".repeat(64), "a".repeat(63)] {
        let refused = revoke(&bench, "token", &id).await;
        assert_eq!(problem(&refused), "field-out-of-range");
    }
    assert_eq!(
        problem(&revoke(&bench, "fleet-ca", &"a".repeat(64)).await),
        "path-malformed"
    );
    let path = "/v1/keys/card/rotate";
    let rotate = bench.post(&operator(), path, Value::Null).await;
    assert_eq!(problem(&rotate), "path-malformed");
    let observer = Peer::Operator {
        name: "olga".into(),
        role: Role::Observer,
        not_after: now_s() + 60,
    };
    let path = "/v1/keys/token/rotate";
    let rotate = bench.post(&observer, path, Value::Null).await;
    assert_eq!(problem(&rotate), "role-insufficient");
    let (status, _) = bench.get(&observer, "/v1/keys").await;
    assert_eq!(status, StatusCode::OK);
}
