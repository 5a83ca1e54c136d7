//! Join codes and hosts.

use std::time::Instant;

use axum::http::StatusCode;
use bartizan_attestation::certificates::{Usage, verify_chain};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_verifier::binary::Binary;
use bartizan_verifier::clock::now_s;
use bartizan_verifier::peer::Peer;
use serde_json::{Value, json};

use crate::bench::{Bench, operator, problem};
use crate::process::DEADLINE;

pub(crate) async fn join_code(bench: &Bench, name: &str) -> Value {
    let wish = json!({"name": name, "lifetime_s": 60});
    let (status, answer) = bench.post(&operator(), "/v1/join-codes", wish).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    answer["code"].clone()
}

#[tokio::test]
async fn a_host_enrols_once_with_its_code() {
    let bench = Bench::start().await;
    let code = join_code(&bench, "host-1").await;
    let csr = Binary::encode(&EphemeralKey::generate().unwrap().csr().unwrap());
    let wish = json!({"join_code": code, "name": "host-1", "csr": csr, "vault": "development"});
    let (status, answer) = bench
        .post(&Peer::Anonymous, "/v1/hosts", wish.clone())
        .await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let chain = vec![Binary::decode(answer["chain"][0].as_str().unwrap()).unwrap()];
    let ca = bench.vault.fleet.ca();
    let card = verify_chain(&chain, &ca, now_s(), Usage::Card)
        .unwrap()
        .card
        .unwrap();
    assert_eq!(answer["fleet_ca"], Binary::encode(ca.der()));

    let again = bench.post(&Peer::Anonymous, "/v1/hosts", wish).await;
    assert_eq!(
        (again.0, problem(&again)),
        (StatusCode::FORBIDDEN, "join-code-not-accepted")
    );
    let (_, hosts) = bench.get(&operator(), "/v1/hosts").await;
    assert_eq!(hosts["hosts"][0]["card"], card.to_string());
    assert_eq!(hosts["hosts"][0]["operator"], "ann");
    assert_eq!(hosts["hosts"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_refused_request_does_not_burn_the_code_but_guesses_never_pass() {
    let bench = Bench::start().await;
    let code = join_code(&bench, "host-1").await;
    let csr = Binary::encode(&EphemeralKey::generate().unwrap().csr().unwrap());
    let wish = |code: &Value, name: &str, csr: &str| json!({"join_code": code, "name": name, "csr": csr, "vault": "development"});
    for (wish, expected) in [
        (
            wish(&json!(Binary::encode(&[0; 32])), "host-1", &csr),
            "join-code-not-accepted",
        ),
        (wish(&json!(""), "host-1", &csr), "join-code-not-accepted"),
        (wish(&code, "host-2", &csr), "join-code-not-accepted"),
        (wish(&code, "host'--", &csr), "field-out-of-range"),
        (wish(&code, "host-1", "AAAA"), "not-signable"),
    ] {
        let answer = bench.post(&Peer::Anonymous, "/v1/hosts", wish).await;
        assert_eq!(problem(&answer), expected);
    }
    let answer = bench
        .post(&Peer::Anonymous, "/v1/hosts", wish(&code, "host-1", &csr))
        .await;
    assert_eq!(answer.0, StatusCode::CREATED, "{}", answer.1);
}

#[tokio::test]
async fn a_code_stays_used_where_the_vault_may_have_issued_for_it() {
    let bench = Bench::start().await;
    let (first, second) = (
        join_code(&bench, "host-1").await,
        join_code(&bench, "host-2").await,
    );
    let csr = Binary::encode(&EphemeralKey::generate().unwrap().csr().unwrap());
    let ask = async |code: &Value, name: &str| {
        let wish = json!({"join_code": code, "name": name, "csr": csr, "vault": "development"});
        let answer = bench.post(&Peer::Anonymous, "/v1/hosts", wish).await;
        problem(&answer).to_owned()
    };
    let (socket, elsewhere) = (
        &bench.vault.socket,
        bench.vault.socket.with_extension("away"),
    );
    bench.vault.lose_answers(true);
    std::fs::rename(socket, &elsewhere).unwrap();
    // Asked over the link that there was, which broke; and then there is no other.
    assert_eq!(ask(&first, "host-1").await, "vault-away");
    // Not asked at all.
    assert_eq!(ask(&second, "host-2").await, "vault-away");
    bench.vault.lose_answers(false);
    std::fs::rename(&elsewhere, socket).unwrap();
    assert_eq!(ask(&first, "host-1").await, "join-code-not-accepted");
    assert_eq!(ask(&second, "host-2").await, "");
}

#[tokio::test]
async fn a_host_is_listed_and_its_memory_charged_though_it_went_away_meanwhile() {
    let bench = Bench::start().await;
    let code = join_code(&bench, "host-1").await;
    let csr = Binary::encode(&EphemeralKey::generate().unwrap().csr().unwrap());
    let wish = json!({"join_code": code, "name": "host-1", "csr": csr, "vault": "development"});
    let whole = bench.service.stranger_memory.free();
    bench.vault.making.hold(true);
    let asked = bench.post(&Peer::Anonymous, "/v1/hosts", wish);
    bench.until_waiting(&bench.vault.making, asked, 1).await;
    assert!(bench.service.stranger_memory.free() < whole);
    bench.vault.making.hold(false);
    let until = Instant::now() + DEADLINE;
    while bench.service.stranger_memory.free() < whole {
        assert!(Instant::now() < until, "the memory does not come back");
        tokio::task::yield_now().await;
    }
    let (_, hosts) = bench.get(&operator(), "/v1/hosts").await;
    assert_eq!(hosts["hosts"][0]["name"], "host-1");
}

#[tokio::test]
async fn names_and_lifetimes_are_checked() {
    let bench = Bench::start().await;
    for (name, lifetime) in [
        ("", 60),
        ("UPPER", 60),
        ("a b", 60),
        ("h", 0),
        ("h", 604_801),
    ] {
        let wish = json!({"name": name, "lifetime_s": lifetime});
        let answer = bench.post(&operator(), "/v1/join-codes", wish).await;
        assert_eq!(problem(&answer), "field-out-of-range", "{name} {lifetime}");
    }
}
