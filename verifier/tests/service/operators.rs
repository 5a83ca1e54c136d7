//! Profiles, revocations and metrics.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::CONTENT_LENGTH;
use axum::http::{Method, Request, StatusCode};
use bartizan_attestation::certificates::Role;
use bartizan_attestation::digest::hash;
use bartizan_attestation::identity::CardId;
use bartizan_attestation::measurement::HashAlgorithm;
use bartizan_attestation::profile::{
    ApplicationProfile, ProfileDocument, ProfiledFile, Reference, Segment, SpecialMappings,
};
use bartizan_verifier::clock::now_s;
use bartizan_verifier::payer::Payer;
use bartizan_verifier::peer::Peer;
use serde_json::{Value, json};

use crate::bench::{Bench, operator, peer, problem};
use crate::fleet::Authority;
use crate::host::{Host, NGINX};

/// A profile of nginx whose code is one page of zeroes.
pub(crate) fn profile(application: &str) -> Value {
    let zeroes = [0; 4096];
    let document = ProfileDocument {
        version: ProfileDocument::VERSION,
        application: application.into(),
        executable: NGINX.into(),
        required: vec![NGINX.into()],
        algorithms: vec![HashAlgorithm::Sha256],
        allow_page_digests: true,
        special_mappings: SpecialMappings::Unappraised,
        files: vec![ProfiledFile {
            path: NGINX.into(),
            sha256: hash(HashAlgorithm::Sha256, b"the file"),
            segments: vec![Segment {
                file_offset: 4096,
                pages: 1,
                references: vec![Reference::of_pages(
                    HashAlgorithm::Sha256,
                    std::iter::once(zeroes.as_slice()),
                )],
            }],
        }],
    };
    let profile = ApplicationProfile::try_from(document).unwrap();
    serde_json::from_slice(&profile.to_json()).unwrap()
}

#[tokio::test]
async fn a_profile_is_put_shown_listed_and_withdrawn() {
    let bench = Bench::start().await;
    let path = "/v1/profiles/nginx";
    assert_eq!(problem(&bench.get(&operator(), path).await), "no-profile");
    let (status, put) = bench
        .call(&operator(), Method::PUT, path, profile("nginx"))
        .await;
    assert_eq!(status, StatusCode::OK, "{put}");
    assert_eq!(
        (&put["revision"], &put["operator"]),
        (&json!(1), &json!("ann"))
    );
    let (_, shown) = bench.get(&operator(), path).await;
    assert_eq!(shown, put);
    let (_, listed) = bench.get(&operator(), "/v1/profiles").await;
    assert_eq!(listed["profiles"][0]["application"], "nginx");
    let (status, _) = bench
        .call(&operator(), Method::DELETE, path, Value::Null)
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(problem(&bench.get(&operator(), path).await), "no-profile");
    let answer = bench
        .call(&operator(), Method::DELETE, path, Value::Null)
        .await;
    assert_eq!(problem(&answer), "no-profile");
    let (_, put) = bench
        .call(&operator(), Method::PUT, path, profile("nginx"))
        .await;
    assert_eq!(put["revision"], 3);
}

#[tokio::test]
async fn a_profile_must_be_one_and_be_of_its_path() {
    let bench = Bench::start().await;
    let put = async |body| {
        bench
            .call(&operator(), Method::PUT, "/v1/profiles/nginx", body)
            .await
    };
    assert_eq!(
        problem(&put(profile("apache")).await),
        "profile-of-other-application"
    );
    assert_eq!(
        problem(&put(json!({"version": 1})).await),
        "profile-refused"
    );
    let path = "/v1/profiles/x');DROP%20TABLE%20profiles;--";
    assert_eq!(problem(&bench.get(&operator(), path).await), "no-profile");
    assert_eq!(
        bench.get(&operator(), "/v1/profiles").await.1,
        json!({"profiles": [], "next": null})
    );
}

#[tokio::test]
async fn revocations_are_made_listed_and_taken_back() {
    let bench = Bench::start().await;
    let host = Host::enrolled(&bench.vault.fleet);
    let guest = host.guest(1, 1);
    let subject = host.card.to_string();
    let wish = json!({"kind": "host", "subject": subject, "reason": "stolen"});
    let (status, _) = bench.post(&operator(), "/v1/revocations", wish).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (_, listed) = bench.get(&operator(), "/v1/revocations").await;
    assert_eq!(listed["revocations"][0]["reason"], "stolen");
    let asked = json!({"guest": guest.identity.to_string()});
    let answer = bench.post(&peer(&host), "/v1/nonces", asked).await;
    assert_eq!(problem(&answer), "host-revoked");
    let path = format!("/v1/revocations?kind=host&subject={subject}");
    let (status, _) = bench
        .call(&operator(), Method::DELETE, &path, Value::Null)
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    bench.nonce(&host, &guest).await;
    let answer = bench
        .call(&operator(), Method::DELETE, &path, Value::Null)
        .await;
    assert_eq!(problem(&answer), "no-revocation");
}

#[tokio::test]
async fn a_revocation_that_could_never_match_is_refused() {
    let bench = Bench::start().await;
    for (kind, subject) in [
        ("host", "'; --"),
        ("guest", "urn:bartizan:guest:x"),
        ("application", ""),
    ] {
        let wish = json!({"kind": kind, "subject": subject, "reason": "r"});
        let answer = bench.post(&operator(), "/v1/revocations", wish).await;
        assert_eq!(problem(&answer), "revocation-subject-invalid");
    }
    let wish = json!({"kind": "verdict", "subject": "x", "reason": "r"});
    let answer = bench.post(&operator(), "/v1/revocations", wish).await;
    assert_eq!(problem(&answer), "body-malformed");
}

#[tokio::test]
async fn an_operator_is_revoked_by_another() {
    let bench = Bench::start().await;
    let bob = Peer::Operator {
        name: "bob".into(),
        role: Role::Administrator,
        not_after: now_s() + 60,
    };
    let oneself = json!({"kind": "operator", "subject": "ann", "reason": "left"});
    let answer = bench
        .post(&operator(), "/v1/revocations", oneself.clone())
        .await;
    assert_eq!(problem(&answer), "revocation-of-oneself");
    assert_eq!(
        bench.post(&bob, "/v1/revocations", oneself).await.0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        problem(&bench.get(&operator(), "/v1/hosts").await),
        "operator-revoked"
    );
    assert_eq!(bench.get(&bob, "/v1/hosts").await.0, StatusCode::OK);
}

#[tokio::test]
async fn lists_come_in_pages_that_lead_to_one_another() {
    let bench = Bench::start().await;
    for number in 0..5 {
        let subject = format!("a:{number}&after=");
        let wish = json!({"kind": "application", "subject": subject, "reason": "r"});
        bench.post(&operator(), "/v1/revocations", wish).await;
        let (path, body) = (
            format!("/v1/profiles/p{number}"),
            profile(&format!("p{number}")),
        );
        bench.call(&operator(), Method::PUT, &path, body).await;
    }
    for (path, list) in [
        ("/v1/revocations", "revocations"),
        ("/v1/profiles", "profiles"),
    ] {
        let (_, whole) = bench.get(&operator(), path).await;
        assert_eq!(
            (whole[list].as_array().unwrap().len(), &whole["next"]),
            (5, &Value::Null)
        );
        let (mut found, mut query) = (Vec::new(), "limit=2".to_owned());
        loop {
            let (_, page) = bench.get(&operator(), &format!("{path}?{query}")).await;
            found.extend(page[list].as_array().unwrap().clone());
            let Some(next) = page["next"].as_str() else {
                break;
            };
            assert_eq!(page[list].as_array().unwrap().len(), 2);
            let encoded: String = next.bytes().map(|byte| format!("%{byte:02x}")).collect();
            query = format!("limit=2&after={encoded}");
        }
        assert_eq!(&json!(found), &whole[list]);
    }
    for path in [
        "/v1/hosts?after=x",
        // No place in the list, rather than its end.
        &format!("/v1/hosts?after={}", CardId([1; 32])),
        "/v1/revocations?after=x",
        "/v1/profiles?limit=0",
    ] {
        assert_eq!(
            problem(&bench.get(&operator(), path).await),
            "field-out-of-range"
        );
    }
}

#[tokio::test]
async fn a_list_is_paid_for_until_it_was_sent() {
    let bench = Bench::start_with(Authority::fleet(), "limits: {memory_wait_s: 1}").await;
    let memory = &bench.service.memory;
    let whole = memory.free();
    let ann = operator();
    let answer = bench.respond(&ann, "/v1/hosts").await;
    assert!(memory.free() < whole, "while the client has not read it");
    drop(answer);
    assert_eq!(memory.free(), whole);
    // Another operator's requests hold what there is.
    let bob = Payer::Operator("bob".into());
    let mut held = Vec::new();
    while let Ok(share) = memory.try_take(&bob, 1 << 20) {
        held.push(share);
    }
    let mine = Payer::Operator("ann".into());
    while let Ok(share) = memory.try_take(&mine, 1 << 20) {
        held.push(share);
    }
    let refused = bench.get(&ann, "/v1/verdicts").await;
    assert_eq!(problem(&refused), "client-memory-exhausted");
}

#[tokio::test]
async fn one_profile_and_one_verdict_are_paid_for_until_they_were_sent() {
    let bench = Bench::start_with(Authority::fleet(), "limits: {memory_wait_s: 1}").await;
    let (ann, path) = (operator(), "/v1/profiles/nginx");
    let put = bench.call(&ann, Method::PUT, path, profile("nginx")).await;
    assert_eq!(put.0, StatusCode::OK);
    let host = Host::enrolled(&bench.vault.fleet);
    let guest = host.guest(1, 1);
    let report = guest.attest(bench.nonce(&host, &guest).await, "nginx");
    let (_, judged) = bench.submit(&host, &guest, &report).await;
    let verdict = format!("/v1/verdicts/{}", judged["verdict"].as_str().unwrap());
    let memory = &bench.service.memory;
    let whole = memory.free();
    let text = profile("nginx").to_string();
    let put = Request::put(path)
        .header(CONTENT_LENGTH, text.len())
        .body(text.into());
    for request in [
        Request::get(path).body(Body::empty()),
        Request::get(&verdict).body(Body::empty()),
        put,
    ] {
        let request = request.unwrap();
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let answer = bench.dispatch(&ann, request).await;
        assert_eq!(answer.status(), StatusCode::OK, "{method} {uri}");
        assert!(memory.free() < whole, "{method} {uri}, not read yet");
        drop(answer);
        assert_eq!(memory.free(), whole, "{method} {uri}");
    }
    // All that this operator can have.
    let mine = Payer::Operator("ann".into());
    let mut held = Vec::new();
    while let Ok(share) = memory.try_take(&mine, 64 << 10) {
        held.push(share);
    }
    for path in [path, &verdict] {
        let refused = bench.get(&ann, path).await;
        assert_eq!(problem(&refused), "client-memory-exhausted");
    }
}

#[tokio::test]
async fn what_changes_something_without_a_body_is_paid_for_too() {
    let extra = "limits: {memory_wait_s: 1}";
    let bench = Arc::new(Bench::start_with(Authority::fleet(), extra).await);
    let mine = Payer::Operator("ann".into());
    let mut held = Vec::new();
    while let Ok(share) = bench.service.memory.try_take(&mine, 64 << 10) {
        held.push(share);
    }
    let (id, digest) = ("a".repeat(64), "a".repeat(96));
    let mut asked = tokio::task::JoinSet::new();
    for (method, path) in [
        (Method::DELETE, format!("/v1/firmware/{digest}")),
        (Method::DELETE, format!("/v1/releases/{digest}")),
        (Method::DELETE, "/v1/profiles/nginx".to_owned()),
        (Method::DELETE, format!("/v1/hosts/{id}/fork")),
        (
            Method::DELETE,
            format!("/v1/revocations?kind=host&subject={id}"),
        ),
        (Method::DELETE, format!("/v1/keys/token/{id}")),
        (Method::POST, "/v1/keys/token/rotate".to_owned()),
        (Method::POST, "/v1/keys/sealing/rotate".to_owned()),
        // It has one, which is not asked for before there is room for what goes with it.
        (Method::POST, "/v1/bundles".to_owned()),
    ] {
        let bench = Arc::clone(&bench);
        asked.spawn(async move {
            let answer = bench.call(&operator(), method, &path, Value::Null).await;
            assert_eq!(problem(&answer), "client-memory-exhausted", "{path}");
        });
    }
    asked.join_all().await;
}

#[tokio::test]
async fn reports_that_wait_for_one_profile_have_it_read_once() {
    let bench = Bench::start().await;
    let (path, body) = ("/v1/profiles/nginx", profile("nginx"));
    bench.call(&operator(), Method::PUT, path, body).await;
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..8 {
        let service = Arc::clone(&bench.service);
        waiting.spawn(async move {
            let (storage, host) = (&service.storage, CardId([number % 3; 32]));
            let current = service.profiles.current(storage, host, "nginx", 1);
            current.await.unwrap().unwrap()
        });
    }
    let read = waiting.join_all().await;
    assert!(read.iter().all(|profile| Arc::ptr_eq(profile, &read[0])));
}

#[tokio::test]
async fn metrics_count_responses_and_problems() {
    let bench = Bench::start().await;
    bench.get(&operator(), "/v1/nothing").await;
    let (status, _) = bench.get(&operator(), "/metrics").await;
    assert_eq!(status, StatusCode::OK);
    let text = bench.service.metrics.render(&[("nonces_outstanding", 0)]);
    assert!(
        text.contains("bartizan_verifier_responses_total{code=\"404\"} 1"),
        "{text}"
    );
    assert!(
        text.contains("bartizan_verifier_problems_total{type=\"not-found\"} 1"),
        "{text}"
    );
}
