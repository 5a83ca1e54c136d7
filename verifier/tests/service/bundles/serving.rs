//! Hosts that are served at once, ask again, or take nothing.

use std::time::Instant;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use bartizan_attestation::boot::Bundle;
use bartizan_channel::https;
use bartizan_verifier::cut::Cut;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Factory, Host, MIB, path, publish, register, served, upload};
use crate::bench::{Bench, problem};
use crate::boots::peer;
use crate::fleet::Authority;
use crate::process::{
    DEADLINE, connect, exchange, host_client, operator_client, stream_from, try_connect,
};

fn configuration(factory: &Factory, limits: &str) -> String {
    let key = hex::encode(factory.key_sha256());
    format!(
        "limits: {{{limits}}}\nmeasured_boot: {{demanded: {{release_keys: ['{key}'], firmware: not_demanded}}}}"
    )
}

/// A verifier that serves a bundle of 9 MiB: its bytes.
async fn serving(factory: &Factory, limits: &str) -> (Bench, Vec<u8>) {
    let bench = Bench::start_with(Authority::fleet(), &configuration(factory, limits)).await;
    let (registration, bundle) = factory.bundle(1, &vec![7; 9 * MIB]);
    register(&bench, registration).await;
    assert_eq!(publish(&bench, &bundle).await.0, StatusCode::OK);
    (bench, bundle.to_bytes())
}

async fn ask(bench: &Bench, factory: &Factory, host: &Host) -> Response {
    let response = bench.respond(&peer(host, &[]), &path(factory)).await;
    assert_eq!(response.status(), StatusCode::OK);
    response
}

/// Whether what comes of it ends before its time.
async fn is_broken_off(mut body: Body) -> bool {
    loop {
        match body.frame().await {
            Some(Ok(_)) => {}
            Some(Err(_)) => return true,
            None => return false,
        }
    }
}

/// It was cut off from power, say, and its connection has not ended.
#[tokio::test]
async fn a_host_that_asks_again_is_served_and_what_it_had_asked_for_before_is_broken_off() {
    let factory = Factory::new();
    let (bench, bytes) = serving(&factory, "").await;
    let host = Host::enrolled(&bench.vault.fleet);
    let mut before = ask(&bench, &factory, &host).await.into_body();
    assert!(before.frame().await.unwrap().is_ok());
    let again = served(&bench, &factory, &host).await.unwrap();
    assert!(again == bytes);
    assert!(is_broken_off(before).await, "both are served to their end");
}

#[tokio::test]
async fn so_many_are_served_at_once_and_the_others_are_told_to_come_again() {
    let factory = Factory::new();
    let limits = "bundles: 1, memory_wait_s: 1, body_grace_s: 600";
    let (bench, bytes) = serving(&factory, limits).await;
    let (host, other) = (
        Host::enrolled(&bench.vault.fleet),
        Host::enrolled(&bench.vault.fleet),
    );
    let first = ask(&bench, &factory, &host).await;
    let refused = bench.get(&peer(&other, &[]), &path(&factory)).await;
    assert_eq!(problem(&refused), "bundles-busy");
    assert_eq!(refused.0, StatusCode::SERVICE_UNAVAILABLE);
    // Who gave up waiting holds nothing, and the place is given back with the answer.
    drop(first);
    for host in [&other, &host, &other] {
        assert!(served(&bench, &factory, host).await.unwrap() == bytes);
    }
}

/// What is on its way at the end holds the place, too.
#[tokio::test]
async fn who_does_not_take_the_last_of_a_bundle_is_left() {
    let factory = Factory::new();
    let (bench, _) = serving(&factory, "body_grace_s: 1").await;
    // All of it waits to be taken at once.
    let (registration, small) = factory.bundle(2, b"stage2");
    register(&bench, registration).await;
    assert_eq!(publish(&bench, &small).await.0, StatusCode::OK);
    let host = Host::enrolled(&bench.vault.fleet);
    let cut = Cut::default();
    let request = Request::get(path(&factory)).extension(cut.clone());
    let request = request.body(Body::empty()).unwrap();
    let response = bench.dispatch(&peer(&host, &[]), request).await;
    let cut_off = tokio::time::timeout(DEADLINE, cut.wanted()).await;
    assert!(cut_off.is_ok(), "the connection is kept");
    drop(response);
}

/// Through the real binary: hyper looks at no answer for which the socket has no room.
#[tokio::test]
async fn who_takes_nothing_loses_its_connection_and_its_place() {
    let factory = Factory::new();
    let limits = "bundles: 1, memory_wait_s: 60, connections_per_host: 1, body_grace_s: 1";
    let stack = crate::connections::start(&configuration(&factory, limits));
    let (fleet, address) = (&stack.vault.fleet, stack.verifier.address);
    let (registration, bundle) = factory.bundle(1, &vec![7; 48 * MIB]);
    let ann = operator_client(fleet);
    let mut as_ann = connect(&ann, address).await;
    let registered = exchange(&mut as_ann, "POST", "/v1/releases", registration).await;
    assert_eq!(registered.unwrap().0, 204);
    assert_eq!(upload(&ann, address, bundle.to_bytes()).await, 200);

    let host = Host::enrolled(fleet);
    let client = host_client(fleet, &host);
    let mut stalling = stream_from(&client, [127, 0, 0, 1], address).await.unwrap();
    let request = format!("GET {} HTTP/1.1\r\nHost: verifier\r\n\r\n", path(&factory));
    stalling.write_all(request.as_bytes()).await.unwrap();
    stalling.flush().await.unwrap();
    assert!(stalling.read_u8().await.is_ok(), "it is being served");
    // Its one connection's place becomes free.
    let until = Instant::now() + DEADLINE;
    let answers = async || {
        let mut next = try_connect(&client, address).await?;
        exchange(&mut next, "GET", "/healthz", Value::Null).await
    };
    while answers().await.is_err() {
        assert!(Instant::now() < until, "the connection is kept");
    }
    let other = Host::enrolled(fleet);
    let mut other = connect(&host_client(fleet, &other), address).await;
    let (method, path, body) = ("GET", path(&factory), Vec::new());
    let request = https::Request { method, path, body };
    let taken = other
        .send(request, Bundle::MAX_LEN, DEADLINE)
        .await
        .unwrap();
    assert!(taken.body == bundle.to_bytes());
    let mut rest = Vec::new();
    let _reset = stalling.read_to_end(&mut rest).await;
    assert!(rest.len() < 48 * MIB);
}
