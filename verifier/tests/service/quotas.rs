//! No guest, and no host, gets verdicts without end, and no host has its boots looked at without end.

use axum::http::StatusCode;
use serde_json::json;

use crate::bench::{Bench, peer, problem};
use crate::fleet::Authority;
use crate::host::{Guest, Host};

async fn ask(bench: &Bench, host: &Host, guest: &Guest) -> crate::bench::Answer {
    let wish = json!({"guest": guest.identity.to_string()});
    bench.post(&peer(host), "/v1/nonces", wish).await
}

#[tokio::test]
async fn a_vm_that_has_had_its_verdicts_waits_whatever_its_boot() {
    let extra = "verdicts: {guest_burst: 2, per_guest_per_minute: 1}";
    let bench = Bench::start_with(Authority::fleet(), extra).await;
    let host = Host::enrolled(&bench.vault.fleet);
    let guest = host.guest(1, 1);
    let spare = bench.nonce(&host, &guest).await;
    for _ in 0..2 {
        let report = guest.attest(bench.nonce(&host, &guest).await, "nginx");
        assert_eq!(bench.submit(&host, &guest, &report).await.0, StatusCode::OK);
    }
    for guest in [&guest, &host.guest(1, 2)] {
        let refused = ask(&bench, &host, guest).await;
        assert_eq!(refused.0, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(problem(&refused), "guest-verdicts-exhausted");
    }
    let report = guest.attest(spare, "nginx");
    let refused = bench.submit(&host, &guest, &report).await;
    assert_eq!(problem(&refused), "guest-verdicts-exhausted");
    assert!(refused.1.get("token").is_none());
    let other = host.guest(2, 1);
    let report = other.attest(bench.nonce(&host, &other).await, "nginx");
    assert_eq!(bench.submit(&host, &other, &report).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_host_has_its_own_quota() {
    let extra = "verdicts: {host_burst: 2, per_host_per_minute: 1}";
    let bench = Bench::start_with(Authority::fleet(), extra).await;
    let host = Host::enrolled(&bench.vault.fleet);
    let spare = host.guest(9, 1);
    let report = spare.attest(bench.nonce(&host, &spare).await, "nginx");
    for vm in 1..3 {
        let guest = host.guest(vm, 1);
        let report = guest.attest(bench.nonce(&host, &guest).await, "nginx");
        assert_eq!(bench.submit(&host, &guest, &report).await.0, StatusCode::OK);
    }
    let refused = bench.submit(&host, &spare, &report).await;
    assert_eq!(problem(&refused), "host-verdicts-exhausted");
    let refused = ask(&bench, &host, &spare).await;
    assert_eq!(problem(&refused), "host-verdicts-exhausted");
    let elsewhere = Host::enrolled(&bench.vault.fleet);
    let guest = elsewhere.guest(1, 1);
    assert_eq!(ask(&bench, &elsewhere, &guest).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_host_that_hands_its_boot_in_without_end_waits() {
    let demanded = format!(
        "measured_boot: {{demanded: {{release_keys: ['{}'], firmware: not_demanded}}}}",
        "0".repeat(64)
    );
    let bench = Bench::start_with(Authority::fleet(), &demanded).await;
    let host = Host::enrolled(&bench.vault.fleet);
    let hand_in = async |host: &Host| {
        let garbage = json!({ "log": "AAAA" });
        bench.post(&peer(host), "/v1/hosts/boot", garbage).await
    };
    let refused = loop {
        let answer = hand_in(&host).await;
        if problem(&answer) != "boot-log-malformed" {
            break answer;
        }
    };
    assert_eq!(refused.0, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(problem(&refused), "host-boots-exhausted");
    let other = Host::enrolled(&bench.vault.fleet);
    assert_eq!(problem(&hand_in(&other).await), "boot-log-malformed");
}
