//! Who may call what, and what is refused before it is looked at.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use bartizan_attestation::certificates::{Role, Usage};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_verifier::api::openapi;
use bartizan_verifier::clock::now_s;
use bartizan_verifier::peer::Peer;
use serde_json::{Value, json};

use crate::bench::{Bench, operator, peer, problem};
use crate::fleet::{Authority, Wish};
use crate::host::Host;

#[tokio::test]
async fn every_operation_is_refused_to_those_whom_its_tag_does_not_name() {
    let bench = Bench::start().await;
    let host = peer(&Host::enrolled(&bench.vault.fleet));
    let description: Value = serde_json::from_str(&openapi::document()).unwrap();
    let mut tried = 0;
    for (path, operations) in description["paths"].as_object().unwrap() {
        let path = path.replace("{application}", "a").replace("{id}", "a");
        let path = path.replace("{name}", "a");
        for (method, operation) in operations.as_object().unwrap() {
            let wrong: &[(&Peer, &str)] = match operation["tags"][0].as_str().unwrap() {
                "host" => &[
                    (&Peer::Anonymous, "client-certificate-required"),
                    (&operator(), "wrong-role"),
                ],
                "operator" => &[
                    (&Peer::Anonymous, "client-certificate-required"),
                    (&host, "wrong-role"),
                ],
                _ => continue,
            };
            for (peer, expected) in wrong {
                let method: Method = method.to_uppercase().parse().unwrap();
                let answer = bench.call(peer, method.clone(), &path, json!({})).await;
                assert_eq!(problem(&answer), *expected, "{method} {path}");
                tried += 1;
            }
        }
    }
    assert!(tried >= 30, "{tried}");
}

#[tokio::test]
async fn only_administrators_change_anything() {
    let bench = Bench::start().await;
    for (role, expected) in [
        (Role::Observer, StatusCode::FORBIDDEN),
        (Role::Runner, StatusCode::FORBIDDEN),
        (Role::Administrator, StatusCode::NO_CONTENT),
    ] {
        let peer = Peer::Operator {
            name: "oscar".into(),
            role,
            not_after: now_s() + 60,
        };
        assert_eq!(bench.get(&peer, "/v1/hosts").await.0, StatusCode::OK);
        let wish = json!({"kind": "operator", "subject": "ann", "reason": "left"});
        let answer = bench.post(&peer, "/v1/revocations", wish).await;
        assert_eq!(answer.0, expected, "{role}");
        if expected == StatusCode::FORBIDDEN {
            assert_eq!(problem(&answer), "role-insufficient");
        }
    }
}

#[tokio::test]
async fn a_certificate_that_expired_during_its_connection_is_refused() {
    let bench = Bench::start().await;
    let late = Peer::Operator {
        name: "ann".into(),
        role: Role::Administrator,
        not_after: now_s() - 1,
    };
    let answer = bench.get(&late, "/v1/hosts").await;
    assert_eq!(
        (answer.0, problem(&answer)),
        (StatusCode::UNAUTHORIZED, "client-certificate-expired")
    );
}

#[tokio::test]
async fn hosts_learn_how_an_operator_stands_and_nothing_else() {
    let bench = Bench::start().await;
    let host = peer(&Host::enrolled(&bench.vault.fleet));
    let stands = async |name: &str| {
        let path = format!("/v1/operators/{name}/standing");
        let (status, answer) = bench.get(&host, &path).await;
        assert_eq!(
            (status, &answer["operator"]),
            (StatusCode::OK, &json!(name))
        );
        answer["revoked"].clone()
    };
    assert_eq!(stands("bob").await, json!(false));
    for (kind, subject) in [("operator", "bob"), ("application", "nginx")] {
        let revocation = json!({"kind": kind, "subject": subject, "reason": "a test"});
        let answer = bench.post(&operator(), "/v1/revocations", revocation).await;
        assert_eq!(answer.0, StatusCode::NO_CONTENT);
    }
    for (name, revoked) in [("bob", true), ("nginx", false), ("ann", false)] {
        assert_eq!(stands(name).await, json!(revoked), "{name}");
    }
}

#[tokio::test]
async fn bodies_are_bounded_and_must_be_what_the_path_takes() {
    let bench = Bench::start_with(Authority::fleet(), "limits: {body_bytes: 2048}").await;
    let long = json!({"name": "x".repeat(4096), "lifetime_s": 60});
    let answer = bench.post(&operator(), "/v1/join-codes", long).await;
    assert_eq!(
        (answer.0, problem(&answer)),
        (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large")
    );
    for wrong in [
        json!([]),
        json!({"name": "x"}),
        json!({"name": "x", "lifetime_s": 1, "y": 1}),
    ] {
        let answer = bench.post(&operator(), "/v1/join-codes", wrong).await;
        assert_eq!(
            (answer.0, problem(&answer)),
            (StatusCode::BAD_REQUEST, "body-malformed")
        );
    }
    let unknown_size = Request::post("/v1/join-codes")
        .body(Body::from("{}"))
        .unwrap();
    let answer = bench.send(&operator(), unknown_size).await;
    assert_eq!(problem(&answer), "length-required");
    let short = Request::post("/v1/join-codes")
        .header(header::CONTENT_LENGTH, 1)
        .body(Body::from("{\"name\": 1}"))
        .unwrap();
    assert_eq!(
        problem(&bench.send(&operator(), short).await),
        "body-truncated"
    );
}

#[tokio::test]
async fn unknown_paths_methods_and_parameters_are_problems() {
    let bench = Bench::start().await;
    assert_eq!(
        problem(&bench.get(&operator(), "/v1/nothing").await),
        "not-found"
    );
    let answer = bench
        .call(&operator(), Method::DELETE, "/v1/hosts", Value::Null)
        .await;
    assert_eq!(problem(&answer), "method-not-allowed");
    for query in ["limit=x", "limit=0", "limit=1001", "nothing=1"] {
        let answer = bench
            .get(&operator(), &format!("/v1/verdicts?{query}"))
            .await;
        assert!(
            matches!(problem(&answer), "query-malformed" | "field-out-of-range"),
            "{query}"
        );
    }
    assert_eq!(
        problem(&bench.get(&operator(), "/v1/verdicts/%ff").await),
        "path-malformed"
    );
}

#[test]
fn only_hosts_enclaves_and_operators_are_identified_by_their_certificates() {
    let fleet = Authority::fleet();
    let (ca, now) = (fleet.ca(), now_s());
    let host = Host::enrolled(&fleet);
    let key = EphemeralKey::generate().unwrap();
    let identify = |chain: &[Vec<u8>]| Peer::identify(Some(chain), &ca, now);
    assert!(matches!(identify(&host.client(&key)), Peer::Host { card, .. } if card == host.card));
    let named =
        |usage, uri: &str| vec![fleet.issue(&Wish::new(usage, uri.to_owned()), &key.public_key())];
    let ann = named(Usage::Operator, "urn:bartizan:operator:ann:administrator");
    assert!(matches!(identify(&ann), Peer::Operator { name, .. } if name == "ann"));
    let card = named(Usage::Card, &format!("urn:bartizan:host:{}", host.card));
    let guest = host.guest(1, 1);
    let stranger = Host::enrolled(&Authority::fleet()).client(&key);
    // TLS takes them, being for clients too; what a host may ask is not for them.
    let by_card = |usage, kind: &str| {
        let wish = Wish::new(usage, format!("urn:bartizan:{kind}:{}", host.card));
        let leaf = host.authority.issue(&wish, &key.public_key());
        vec![leaf, host.authority.der.clone()]
    };
    let enclave = by_card(Usage::EnclaveTls, "enclave");
    assert!(matches!(identify(&enclave), Peer::Enclave { card, .. } if card == host.card));
    let evidence = by_card(Usage::Evidence, "enclave");
    let hypervisor = by_card(Usage::Hypervisor, "hypervisor");
    for other in [
        card,
        guest.chain,
        evidence,
        hypervisor,
        stranger,
        Vec::new(),
        vec![b"junk".to_vec()],
    ] {
        assert_eq!(identify(&other), Peer::Anonymous);
    }
    assert_eq!(Peer::identify(None, &ca, now), Peer::Anonymous);
}

#[test]
fn whatever_can_be_refused_is_said_to_be_able_to_fail() {
    let description: Value = serde_json::from_str(&openapi::document()).unwrap();
    let paths = description["paths"].as_object().unwrap().values();
    let operations: Vec<_> = paths.flat_map(|path| path.as_object().unwrap()).collect();
    assert!(operations.len() >= 20);
    for (method, operation) in operations {
        let responses = &operation["responses"];
        let problem = json!({"$ref": "#/components/schemas/ProblemDocument"});
        for class in ["4XX", "5XX"] {
            if operation["tags"][0] != "open" {
                let schema = &responses[class]["content"]["application/problem+json"]["schema"];
                assert_eq!(*schema, problem, "{method} {operation}");
            }
        }
        assert_eq!(responses["4XX"].is_null(), responses["5XX"].is_null());
    }
}

#[test]
fn the_committed_description_is_up_to_date() {
    let committed = include_str!("../../openapi.json");
    assert!(
        committed == openapi::document(),
        "run `cargo run -p bartizan-verifier -- openapi > verifier/openapi.json`"
    );
}
