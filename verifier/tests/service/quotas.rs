//! No guest, and no host, gets verdicts without end, and no host has its boots looked at, or reports in, without end.

use axum::http::StatusCode;
use bartizan_attestation::vault_counter::FIRST_MARK;
use bartizan_verifier::binary::Binary;
use serde_json::json;

use crate::bench::{Bench, peer, problem};
use crate::counters::{report, statement};
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

#[tokio::test]
async fn a_host_that_reports_in_without_end_waits_and_its_fork_is_found_all_the_same() {
    let bench = Bench::start().await;
    let host = Host::enrolled(&bench.vault.fleet);
    let first = statement(&host, "host", 1, FIRST_MARK);
    let refused = loop {
        let answer = report(&bench, &host, &first).await;
        if answer.0 != StatusCode::OK {
            break answer;
        }
    };
    assert_eq!(refused.0, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(problem(&refused), "host-counters-exhausted");
    let elsewhere = ([192, 0, 2, 8], 4711).into();
    let (peer, path) = (peer(&host), "/v1/hosts/counter");
    let again = bench.post_from(elsewhere, &peer, path, first.clone()).await;
    assert_eq!(again.0, StatusCode::OK, "{again:?}");
    let other = Host::enrolled(&bench.vault.fleet);
    let of_other = statement(&other, "other", 1, FIRST_MARK);
    assert_eq!(report(&bench, &other, &of_other).await.0, StatusCode::OK);
    // One of the two that have this vault may have used that up to keep the other from being heard.
    let copy = statement(&host, "the-other", 1, FIRST_MARK);
    while report(&bench, &host, &first).await.0 == StatusCode::OK {}
    let found = report(&bench, &host, &copy).await;
    assert_eq!(problem(&found), "vault-forked", "{found:?}");
}

/// Known attack: whoever may speak for a host, with a part of its vault or behind the same address, keeps it from reporting in.
#[tokio::test]
async fn what_a_hosts_own_key_has_not_signed_takes_nothing_from_it() {
    let bench = Bench::start().await;
    let host = Host::enrolled(&bench.vault.fleet);
    let garbage = json!({ "statement": Binary::encode(b"nothing") });
    for _ in 0..40 {
        let refused = report(&bench, &host, &garbage).await;
        assert_eq!(problem(&refused), "vault-statement-refused", "{refused:?}");
    }
    let first = statement(&host, "host", 1, FIRST_MARK);
    assert_eq!(report(&bench, &host, &first).await.0, StatusCode::OK);
}
