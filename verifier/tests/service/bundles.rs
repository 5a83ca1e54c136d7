//! Bundles that are published, and what hosts are served.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Instant;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use bartizan_attestation::boot::{Bundle, Sha384};
use bartizan_channel::{Connector, https};
use http_body_util::channel::{Channel, Sender};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

use crate::bench::{Answer, Bench, operator, problem};
use crate::boots::{Factory, peer, start};
use crate::host::Host;
use crate::process::{DEADLINE, connect, endpoint, exchange, host_client, operator_client};

mod serving;

const MIB: usize = 1 << 20;

/// A request that announces a bundle of so many bytes.
fn publishing(size: usize, body: Body) -> Request<Body> {
    Request::post("/v1/bundles")
        .header(header::CONTENT_LENGTH, size)
        .body(body)
        .unwrap()
}

async fn publish_bytes(bench: &Bench, bytes: Vec<u8>) -> Answer {
    let request = publishing(bytes.len(), bytes.into());
    bench.send(&operator(), request).await
}

async fn publish(bench: &Bench, bundle: &Bundle) -> Answer {
    publish_bytes(bench, bundle.to_bytes()).await
}

/// Publishes it at a verifier of its own process: the status.
async fn upload(operator: &Connector, address: SocketAddr, bundle: Vec<u8>) -> u16 {
    let request = https::Request {
        method: "POST",
        path: "/v1/bundles".into(),
        body: bundle,
    };
    let published = https::upload(operator, &endpoint(address), request, MIB, DEADLINE).await;
    published.unwrap().status
}

async fn register(bench: &Bench, registration: Value) {
    let answer = bench.post(&operator(), "/v1/releases", registration).await;
    assert_eq!(answer.0, StatusCode::NO_CONTENT, "{}", answer.1);
}

/// Registers and publishes a bundle of that version; answers its bytes and its manifest's digest.
async fn released(bench: &Bench, factory: &Factory, version: u64) -> (Vec<u8>, String) {
    let (registration, bundle) = factory.bundle(version, format!("stage2 {version}").as_bytes());
    register(bench, registration).await;
    let (status, published) = publish(bench, &bundle).await;
    assert_eq!(status, StatusCode::OK, "{published}");
    assert_eq!(published["version"], version);
    let bytes = bundle.to_bytes();
    assert_eq!(published["sha384"], Sha384::of(&bytes).to_string());
    let manifest = published["manifest"].as_str().unwrap().to_owned();
    (bytes, manifest)
}

async fn retire(bench: &Bench, manifest: &str) {
    let path = format!("/v1/releases/{manifest}");
    let (method, nothing) = (Method::DELETE, Value::Null);
    let retired = bench.call(&operator(), method, &path, nothing).await;
    assert_eq!(retired.0, StatusCode::NO_CONTENT);
}

fn path(factory: &Factory) -> String {
    format!("/v1/bundles/{}", hex::encode(factory.key_sha256()))
}

/// What a host is served that has told nothing of its boot; `None` where nothing is published.
async fn served(bench: &Bench, factory: &Factory, host: &Host) -> Option<Vec<u8>> {
    let response = bench.respond(&peer(host, &[]), &path(factory)).await;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    if status == StatusCode::NOT_FOUND {
        let answer = (status, serde_json::from_slice(&body).unwrap());
        assert_eq!(problem(&answer), "bundle-not-published");
        return None;
    }
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers[header::CONTENT_LENGTH], body.len().to_string());
    Some(body.to_vec())
}

/// Whether the listed release of a manifest has its bundle kept.
async fn is_kept(bench: &Bench, manifest: &str) -> bool {
    let (_, listed) = bench.get(&operator(), "/v1/releases").await;
    let mut listed = listed["releases"].as_array().unwrap().iter();
    let found = listed.find(|release| release["manifest"] == manifest);
    !found.unwrap()["published_at_ms"].is_null()
}

#[tokio::test]
async fn the_newest_in_force_is_served_to_hosts_whatever_they_were_booted_from() {
    let factory = Factory::new();
    let (bench, host) = start(&factory).await;
    assert_eq!(served(&bench, &factory, &host).await, None);
    let (second, manifest) = released(&bench, &factory, 2).await;
    assert_eq!(served(&bench, &factory, &host).await.unwrap(), second);
    // An older one that comes later is not newer.
    let (first, _) = released(&bench, &factory, 1).await;
    assert_eq!(served(&bench, &factory, &host).await.unwrap(), second);
    // Another key's host is served none of this one's.
    let stranger = Factory::new();
    assert_eq!(served(&bench, &stranger, &host).await, None);
    // Retired, the one before takes its place; registered again it is not back before it is published again.
    let (registration, bundle) = factory.bundle(2, b"stage2 2");
    retire(&bench, &manifest).await;
    assert_eq!(served(&bench, &factory, &host).await.unwrap(), first);
    register(&bench, registration).await;
    assert_eq!(served(&bench, &factory, &host).await.unwrap(), first);
    assert_eq!(publish(&bench, &bundle).await.0, StatusCode::OK);
    let again = served(&bench, &factory, &host).await.unwrap();
    assert_eq!(again, bundle.to_bytes());
    for wrong in ["00", "zz", &"0".repeat(128)] {
        let path = format!("/v1/bundles/{wrong}");
        let refused = bench.get(&peer(&host, &[]), &path).await;
        assert_eq!(problem(&refused), "field-out-of-range");
    }
}

#[tokio::test]
async fn a_bundle_of_many_pieces_is_served_as_it_was_published() {
    let factory = Factory::new();
    let (bench, host) = start(&factory).await;
    let contents: Vec<u8> = (0..5 * MIB + 7).map(|at| at.to_le_bytes()[1]).collect();
    let (registration, bundle) = factory.bundle(1, &contents);
    register(&bench, registration).await;
    for _ in 0..2 {
        assert_eq!(publish(&bench, &bundle).await.0, StatusCode::OK);
        let bytes = served(&bench, &factory, &host).await.unwrap();
        assert!(bytes == bundle.to_bytes());
    }
}

#[tokio::test]
async fn what_no_host_could_be_booted_from_is_not_published() {
    let factory = Factory::new();
    let (bench, host) = start(&factory).await;
    let (registration, good) = factory.bundle(1, b"stage2");
    let unregistered = publish(&bench, &good).await;
    assert_eq!(problem(&unregistered), "bundle-release-unknown");
    register(&bench, registration).await;
    let (base, base_as_bundle) = factory.base_as_bundle();
    register(&bench, base).await;

    for (bytes, expected) in [
        (Vec::new(), "bundle-malformed"),
        (b"no bundle".to_vec(), "bundle-malformed"),
        ([good.to_bytes(), vec![0]].concat(), "bundle-malformed"),
    ] {
        assert_eq!(problem(&publish_bytes(&bench, bytes).await), expected);
    }
    let mut unsigned = good.clone();
    unsigned.manifest = b"no manifest".to_vec().into();
    let mut empty = good.clone();
    empty.files.clear();
    let mut altered = good.clone();
    altered.files[0].contents[0] ^= 1;
    // The same words, signed by another key.
    let mut forged = good.clone();
    forged.manifest = Factory::new().bundle(1, b"stage2").1.manifest;
    for (bundle, expected) in [
        (unsigned, "bundle-malformed"),
        (base_as_bundle, "bundle-refused"),
        (empty, "bundle-refused"),
        (altered, "bundle-refused"),
        (forged, "bundle-refused"),
    ] {
        let refused = publish(&bench, &bundle).await;
        assert_eq!(problem(&refused), expected, "{}", refused.1);
    }
    let too_large = publishing(Bundle::MAX_LEN + 1, Body::empty());
    let too_large = bench.send(&operator(), too_large).await;
    assert_eq!(problem(&too_large), "body-too-large");
    assert_eq!(served(&bench, &factory, &host).await, None);
    assert_eq!(publish(&bench, &good).await.0, StatusCode::OK);
}

#[tokio::test]
async fn as_many_are_kept_of_a_key_as_the_specification_says() {
    let factory = Factory::new();
    let (bench, host) = start(&factory).await;
    let mut manifests = Vec::new();
    let mut newest = Vec::new();
    for version in [10, 20, 30, 40] {
        let (bytes, manifest) = released(&bench, &factory, version).await;
        newest = bytes;
        manifests.push(manifest);
    }
    let mut kept = Vec::new();
    for manifest in &manifests {
        kept.push(is_kept(&bench, manifest).await);
    }
    assert_eq!(kept, [false, true, true, true]);
    // Where as many later ones are there, an older one is refused, and nothing is dropped for it.
    let (registration, older) = factory.bundle(15, b"older");
    register(&bench, registration).await;
    assert_eq!(problem(&publish(&bench, &older).await), "bundle-superseded");
    assert!(is_kept(&bench, &manifests[1]).await);
    // A retired one makes room.
    retire(&bench, &manifests[2]).await;
    assert_eq!(publish(&bench, &older).await.0, StatusCode::OK);
    assert!(!is_kept(&bench, &manifests[2]).await);
    assert_eq!(served(&bench, &factory, &host).await.unwrap(), newest);
}

#[tokio::test]
async fn one_is_published_at_a_time_and_bodies_that_stall_are_given_up() {
    let factory = Factory::new();
    let key = hex::encode(factory.key_sha256());
    let configuration = format!(
        "limits: {{body_grace_s: 1}}\nmeasured_boot: {{demanded: {{release_keys: ['{key}'], firmware: not_demanded}}}}"
    );
    let bench = Bench::start_with(crate::fleet::Authority::fleet(), &configuration).await;
    let (registration, bundle) = factory.bundle(1, b"stage2");
    register(&bench, registration).await;
    let (mut sender, body): (Sender<Bytes, Infallible>, _) = Channel::new(1);
    let request = publishing(Bundle::MAX_LEN, Body::new(body));
    let ann = operator();
    let stalls = bench.send(&ann, request);
    let busy = async {
        // It was taken up: what comes after the second is the third.
        for _ in 0..3 {
            sender.send_data(vec![7; 10].into()).await.unwrap();
        }
        let busy = publish(&bench, &bundle).await;
        assert_eq!(problem(&busy), "publishing-busy");
    };
    let (stalled, ()) = tokio::join!(stalls, busy);
    assert_eq!(problem(&stalled), "body-too-slow");
    assert_eq!(publish(&bench, &bundle).await.0, StatusCode::OK);
}

/// Between two pieces: they are no use to anybody, and the next to publish does not begin beside them.
#[tokio::test]
async fn a_bundle_that_is_being_stored_is_stored_though_its_operator_goes_away() {
    let factory = Factory::new();
    let (bench, host) = start(&factory).await;
    let (registration, bundle) = factory.bundle(1, &vec![7; 40 * MIB]);
    register(&bench, registration).await;
    let options = SqliteConnectOptions::new().filename(&bench.service.config.database);
    let mut database = SqliteConnection::connect_with(&options).await.unwrap();
    let mut asked = Box::pin(publish(&bench, &bundle));
    loop {
        let pieces = sqlx::query_scalar("SELECT count(*) FROM bundle_pieces");
        let pieces: i64 = tokio::select! {
            biased;
            answer = &mut asked => panic!("{answer:?}"),
            pieces = pieces.fetch_one(&mut database) => pieces.unwrap(),
        };
        if pieces > 0 {
            break;
        }
    }
    drop(asked);
    // No further piece is written meanwhile: it is busy for as long as that takes.
    let written = sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut database);
    written.await.unwrap();
    assert_eq!(served(&bench, &factory, &host).await, None);
    let refused = publish(&bench, &bundle).await;
    assert_eq!(problem(&refused), "publishing-busy");
    let go_on = sqlx::raw_sql("ROLLBACK").execute(&mut database);
    go_on.await.unwrap();
    let deadline = Instant::now() + DEADLINE;
    let bytes = loop {
        if let Some(bytes) = served(&bench, &factory, &host).await {
            break bytes;
        }
        assert!(Instant::now() < deadline, "it is not stored");
    };
    assert!(bytes == bundle.to_bytes());
}

#[tokio::test]
async fn a_verifier_that_knows_no_release_key_publishes_nothing() {
    let bench = Bench::start().await;
    let factory = Factory::new();
    let (registration, bundle) = factory.bundle(1, b"stage2");
    let refused = bench.post(&operator(), "/v1/releases", registration).await;
    assert_eq!(problem(&refused), "release-key-unknown");
    let refused = publish(&bench, &bundle).await;
    assert_eq!(problem(&refused), "bundle-release-unknown");
    assert_eq!(refused.1["status"], json!(409));
}

/// As large as one may be, through the real binary.
#[tokio::test]
async fn the_largest_bundle_is_published_and_served() {
    let factory = Factory::new();
    let key = hex::encode(factory.key_sha256());
    let stack = crate::connections::start(&format!(
        "measured_boot: {{demanded: {{release_keys: ['{key}'], firmware: not_demanded}}}}"
    ));
    let (fleet, address) = (&stack.vault.fleet, stack.verifier.address);
    let around = factory.bundle(1, &[7; MIB]).1.to_bytes().len() - MIB;
    let (registration, bundle) = factory.bundle(1, &vec![7; Bundle::MAX_LEN - around]);
    let bytes = bundle.to_bytes();
    assert_eq!(bytes.len(), Bundle::MAX_LEN);

    let ann = operator_client(fleet);
    let mut as_ann = connect(&ann, address).await;
    let registered = exchange(&mut as_ann, "POST", "/v1/releases", registration).await;
    assert_eq!(registered.unwrap().0, 204);
    assert_eq!(upload(&ann, address, bytes.clone()).await, 200);

    let host = Host::enrolled(fleet);
    let mut as_host = connect(&host_client(fleet, &host), address).await;
    for _ in 0..2 {
        let (method, path, body) = ("GET", path(&factory), Vec::new());
        let request = https::Request { method, path, body };
        let served = as_host.send(request, Bundle::MAX_LEN, DEADLINE).await;
        let served = served.unwrap();
        assert!(served.status == 200 && served.body == bytes);
    }
}
