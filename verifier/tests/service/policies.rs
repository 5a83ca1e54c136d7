//! Policies: who may apply which, and what the set becomes.

use axum::http::{Method, StatusCode};
use bartizan_attestation::certificates::Role;
use bartizan_verifier::binary::Binary;
use bartizan_verifier::clock::now_s;
use bartizan_verifier::peer::Peer;
use serde_json::{Value, json};

use crate::author::{TestAuthor, applied, policy};
use crate::bench::{Answer, Bench, operator, peer, problem};
use crate::fleet::Authority;
use crate::host::Host;

async fn bench() -> (Bench, TestAuthor) {
    let author = TestAuthor::new();
    let bench = Bench::start_with(Authority::fleet(), &author.configuration()).await;
    (bench, author)
}

async fn apply(bench: &Bench, signed: &[u8]) -> Answer {
    let body = applied(signed);
    (bench.call(&operator(), Method::PUT, "/v1/policies", body)).await
}

async fn withdraw(bench: &Bench, name: &str) -> Answer {
    let path = format!("/v1/policies/{}", name.replace('/', "%2F"));
    (bench.call(&operator(), Method::DELETE, &path, Value::Null)).await
}

fn number(answer: &Answer) -> u64 {
    assert_eq!(answer.0, StatusCode::OK, "{}", answer.1);
    answer.1["number"].as_u64().unwrap()
}

#[tokio::test]
async fn the_number_rises_with_each_change_and_with_nothing_else() {
    let (bench, author) = bench().await;
    let first = apply(&bench, &author.sign("net/web", 1)).await;
    assert_eq!(first.1["policies"], 1);
    let started = now_s();
    assert!((started - 60..=started).contains(&number(&first)));
    // Another signature of the same text is the same issue.
    let again = apply(&bench, &author.sign("net/web", 1)).await;
    assert_eq!(again, first);
    let second = apply(&bench, &author.sign("net/db", 5)).await;
    assert_eq!(second.1["policies"], 2);
    let web = author.sign("net/web", 2);
    let third = apply(&bench, &web).await;
    assert_eq!(third.1["policies"], 2);
    let fourth = withdraw(&bench, "net/web").await;
    assert_eq!(fourth.1["policies"], 1);
    let fifth = apply(&bench, &web).await;
    assert_eq!(fifth.1["digest"], third.1["digest"]);
    let numbers = [&first, &second, &third, &fourth, &fifth].map(number);
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    assert_eq!(problem(&withdraw(&bench, "net/nothing").await), "no-policy");
}

#[tokio::test]
async fn an_older_issue_is_refused_also_after_the_newer_was_withdrawn() {
    let (bench, author) = bench().await;
    number(&apply(&bench, &author.sign("net/web", u64::MAX - 1)).await);
    let older = author.sign("net/web", 7);
    let refused = apply(&bench, &older).await;
    assert_eq!(
        (refused.0, problem(&refused)),
        (StatusCode::CONFLICT, "policy-serial")
    );
    let other_text = author.sign_text(&policy("net/web", u64::MAX - 1, "another text"));
    assert_eq!(problem(&apply(&bench, &other_text).await), "policy-serial");
    number(&withdraw(&bench, "net/web").await);
    assert_eq!(problem(&apply(&bench, &older).await), "policy-serial");
    number(&apply(&bench, &author.sign("net/web", u64::MAX)).await);
}

#[tokio::test]
async fn what_no_author_may_write_is_refused() {
    let (bench, author) = bench().await;
    let stranger = TestAuthor::new().sign("net/web", 1);
    assert_eq!(
        problem(&apply(&bench, &stranger).await),
        "policy-author-unknown"
    );
    let outside = author.sign("files/web", 1);
    assert_eq!(
        problem(&apply(&bench, &outside).await),
        "policy-outside-scope"
    );
    let mut edited = author.sign("net/web", 1);
    let at = edited.windows(4).position(|four| four == b"deny").unwrap();
    edited[at] = b'D';
    assert_eq!(problem(&apply(&bench, &edited).await), "policy-refused");
    assert_eq!(
        problem(&apply(&bench, b"no policy").await),
        "policy-refused"
    );
    let (_, list) = bench.get(&operator(), "/v1/policies").await;
    assert_eq!(list["policies"], json!([]));
}

#[tokio::test]
async fn administrators_change_policies_and_operators_read_them() {
    let (bench, author) = bench().await;
    let signed = author.sign("net/web", 3);
    number(&apply(&bench, &signed).await);
    let observer = Peer::Operator {
        name: "olga".into(),
        role: Role::Observer,
        not_after: now_s() + 60,
    };
    let put = bench
        .call(&observer, Method::PUT, "/v1/policies", applied(&signed))
        .await;
    assert_eq!(problem(&put), "role-insufficient");
    let host = peer(&Host::enrolled(&bench.vault.fleet));
    let put = bench
        .call(&host, Method::PUT, "/v1/policies", applied(&signed))
        .await;
    assert_eq!(problem(&put), "wrong-role");
    let (_, list) = bench.get(&observer, "/v1/policies").await;
    let shown = &list["policies"][0];
    assert_eq!(
        [
            &shown["name"],
            &shown["serial"],
            &shown["author"],
            &shown["operator"],
            &shown["withdrawn_at_ms"]
        ],
        [
            &json!("net/web"),
            &json!(3),
            &json!("network-team"),
            &json!("ann"),
            &Value::Null
        ]
    );
    let (_, one) = bench.get(&observer, "/v1/policies/net%2Fweb").await;
    assert_eq!(
        Binary::decode(one["signed"].as_str().unwrap()).unwrap(),
        signed
    );
    let none = bench.get(&observer, "/v1/policies/net%2Fdb").await;
    assert_eq!(problem(&none), "no-policy");
}

#[tokio::test]
async fn a_set_is_no_larger_than_a_stream_carries() {
    let (bench, author) = bench().await;
    let large = |name: &str, size: usize| author.sign_text(&policy(name, 1, &"x".repeat(size)));
    number(&apply(&bench, &large("net/a", 3 << 20)).await);
    let refused = apply(&bench, &large("net/b", 2 << 20)).await;
    assert_eq!(problem(&refused), "policy-set-full");
    // Nothing of it is left.
    let (_, list) = bench.get(&operator(), "/v1/policies").await;
    assert_eq!(list["policies"].as_array().unwrap().len(), 1);
    number(&withdraw(&bench, "net/a").await);
    number(&apply(&bench, &large("net/b", 2 << 20)).await);
}
