//! Profiles, revocations and metrics.

use axum::http::{Method, StatusCode};
use bartizan_attestation::digest::hash;
use bartizan_attestation::measurement::HashAlgorithm;
use bartizan_attestation::profile::{
    ApplicationProfile, ProfileDocument, ProfiledFile, Reference, Segment, SpecialMappings,
};
use bartizan_verifier::clock::now_s;
use bartizan_verifier::peer::Peer;
use serde_json::{Value, json};

use crate::bench::{Bench, operator, peer, problem};
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
        json!({"profiles": []})
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
