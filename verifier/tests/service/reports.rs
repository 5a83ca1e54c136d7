//! Nonces and reports: what is judged, and what is refused and why. Nothing refused leaves a verdict.

use axum::http::{Method, StatusCode};
use bartizan_attestation::identity::GuestIdentity;
use bartizan_verifier::clock::now_ms;
use serde_json::{Value, json};

use crate::bench::{Answer, Bench, operator, peer, problem, submission};
use crate::fleet::Authority;
use crate::host::{Guest, Host};
use crate::operators::profile;

async fn verdicts(bench: &Bench) -> Vec<Value> {
    let (status, answer) = bench.get(&operator(), "/v1/verdicts").await;
    assert_eq!(status, StatusCode::OK);
    answer["verdicts"].as_array().unwrap().clone()
}

async fn refused(bench: &Bench, answer: Answer, expected: &str) {
    assert_eq!(problem(&answer), expected, "{}", answer.1);
    assert!(answer.1.get("token").is_none());
    assert!(verdicts(bench).await.is_empty());
}

async fn start() -> (Bench, Host, Guest) {
    let bench = Bench::start().await;
    let host = Host::enrolled(&bench.vault.fleet);
    let guest = host.guest(1, 1);
    (bench, host, guest)
}

#[tokio::test]
async fn a_sound_report_gets_a_verdict_and_a_token_once() {
    let (bench, host, guest) = start().await;
    let report = guest.attest(bench.nonce(&host, &guest).await, "nginx");
    let (status, answer) = bench.submit(&host, &guest, &report).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let id = answer["verdict"].as_str().unwrap();
    let (_, verdict) = bench.get(&operator(), &format!("/v1/verdicts/{id}")).await;
    assert_eq!(verdict["guest"], guest.identity.to_string());
    assert_eq!(verdict["token"], answer["token"]);
    assert_eq!(verdict["report"], submission(&report, &[])["report"]);
    // No profile: no opinion, though the digest is as the guest expected.
    assert_eq!(
        (&verdict["status"], &verdict["profile_revision"]),
        (&json!("none"), &Value::Null)
    );
    assert_eq!(verdict["reasons"]["findings"][0]["kind"], "no-profile");
    assert_eq!(verdict["reasons"]["expected_digest"], "equal");

    let replay = bench.submit(&host, &guest, &report).await;
    assert_eq!(
        (replay.0, problem(&replay)),
        (StatusCode::FORBIDDEN, "nonce-used")
    );
    assert_eq!(verdicts(&bench).await.len(), 1);
}

#[tokio::test]
async fn pristine_code_is_affirmed_and_patched_code_is_not() {
    let (bench, host, guest) = start().await;
    bench
        .call(
            &operator(),
            Method::PUT,
            "/v1/profiles/nginx",
            profile("nginx"),
        )
        .await;
    let mut patched = [0; 4096];
    patched[77] = 0x90;
    for page in [&[0; 4096], &patched] {
        let report = guest.attest_nginx(bench.nonce(&host, &guest).await, page);
        assert_eq!(bench.submit(&host, &guest, &report).await.0, StatusCode::OK);
    }
    let verdicts = verdicts(&bench).await;
    assert_eq!(verdicts[1]["status"], "affirming", "{}", verdicts[1]);
    assert_eq!(verdicts[0]["status"], "contraindicated");
    assert_eq!(
        verdicts[0]["reasons"]["findings"][0]["path"],
        "/usr/sbin/nginx"
    );

    bench
        .call(
            &operator(),
            Method::DELETE,
            "/v1/profiles/nginx",
            Value::Null,
        )
        .await;
    let report = guest.attest_nginx(bench.nonce(&host, &guest).await, &[0; 4096]);
    assert_eq!(bench.submit(&host, &guest, &report).await.0, StatusCode::OK);
    assert_eq!(self::verdicts(&bench).await[0]["status"], "none");
}

#[tokio::test]
async fn regions_of_the_guests_choice_are_not_affirmed_by_a_profile() {
    let (bench, host, guest) = start().await;
    bench
        .call(
            &operator(),
            Method::PUT,
            "/v1/profiles/nginx",
            profile("nginx"),
        )
        .await;
    let report = guest.attest(bench.nonce(&host, &guest).await, "nginx");
    assert_eq!(bench.submit(&host, &guest, &report).await.0, StatusCode::OK);
    let verdict = &verdicts(&bench).await[0];
    assert_eq!(
        (&verdict["status"], &verdict["profile_revision"]),
        (&json!("none"), &json!(1))
    );
    assert_eq!(verdict["reasons"]["findings"][0]["kind"], "not-the-profile");
}

#[tokio::test]
async fn nonces_never_issued_or_of_another_guest_are_refused() {
    let (bench, host, guest) = start().await;
    let invented = guest.attest([5; 32], "nginx");
    refused(
        &bench,
        bench.submit(&host, &guest, &invented).await,
        "nonce-unknown",
    )
    .await;
    let other = host.guest(2, 1);
    let nonce = bench.nonce(&host, &other).await;
    let stolen = guest.attest(nonce, "nginx");
    refused(
        &bench,
        bench.submit(&host, &guest, &stolen).await,
        "nonce-foreign",
    )
    .await;
    // The owner's nonce was not burnt by that.
    let answer = bench
        .submit(&host, &other, &other.attest(nonce, "nginx"))
        .await;
    assert_eq!(answer.0, StatusCode::OK, "{}", answer.1);
}

#[tokio::test]
async fn another_host_can_neither_ask_nor_hand_in_for_a_guest() {
    let (bench, host, guest) = start().await;
    let other = Host::enrolled(&bench.vault.fleet);
    let report = guest.attest(bench.nonce(&host, &guest).await, "nginx");
    refused(
        &bench,
        bench.submit(&other, &guest, &report).await,
        "report-of-other-host",
    )
    .await;
    let wish = json!({"guest": guest.identity.to_string()});
    let answer = bench.post(&peer(&other), "/v1/nonces", wish).await;
    assert_eq!(problem(&answer), "report-of-other-host");
    let answer = bench.submit(&host, &guest, &report).await;
    assert_eq!(answer.0, StatusCode::OK, "{}", answer.1);
}

#[tokio::test]
async fn reports_out_of_time_are_refused() {
    let (bench, host, guest) = start().await;
    let signed = guest.signed(&guest.request(bench.nonce(&host, &guest).await, "nginx"));
    for (shift, expected) in [(-61_000, "report-expired"), (62_000, "report-from-future")] {
        let mut report = guest.report(signed.clone());
        report.measured_at_ms = now_ms().checked_add_signed(shift).unwrap();
        let answer = bench.submit(&host, &guest, &guest.sealed(&report)).await;
        refused(&bench, answer, expected).await;
    }
}

#[tokio::test]
async fn a_narrower_window_of_the_configuration_holds() {
    let bench = Bench::start_with(Authority::fleet(), "report_window_s: 5").await;
    let host = Host::enrolled(&bench.vault.fleet);
    let guest = host.guest(1, 1);
    let signed = guest.signed(&guest.request(bench.nonce(&host, &guest).await, "nginx"));
    let mut report = guest.report(signed);
    report.measured_at_ms -= 6_000;
    let answer = bench.submit(&host, &guest, &guest.sealed(&report)).await;
    refused(&bench, answer, "report-expired").await;
}

#[tokio::test]
async fn keys_of_others_are_refused() {
    let (bench, host, guest) = start().await;
    let other = host.guest(2, 1);
    let nonce = bench.nonce(&host, &guest).await;
    // Signed by another guest's key.
    let forged = guest.sealed(&guest.report(other.signed(&guest.request(nonce, "nginx"))));
    refused(
        &bench,
        bench.submit(&host, &guest, &forged).await,
        "request-signer-wrong",
    )
    .await;
    refused(
        &bench,
        bench.submit(&host, &other, &forged).await,
        "report-of-other-guest",
    )
    .await;
    // Sealed by another guest's measurer.
    let swapped = other.sealed(&guest.report(guest.signed(&guest.request(nonce, "nginx"))));
    refused(
        &bench,
        bench.submit(&host, &guest, &swapped).await,
        "report-of-other-guest",
    )
    .await;
    // Of another fleet altogether.
    let foreign = Host::enrolled(&Authority::fleet()).guest(1, 1);
    let report = foreign.attest(nonce, "nginx");
    let answer = bench.submit(&host, &foreign, &report).await;
    refused(&bench, answer, "report-key-of-foreign-fleet").await;
    let report = guest.attest(nonce, "nginx");
    let answer = bench.submit(&host, &foreign, &report).await;
    refused(&bench, answer, "guest-key-of-foreign-fleet").await;
}

#[tokio::test]
async fn no_flipped_bit_passes() {
    let (bench, host, guest) = start().await;
    let report = guest.attest(bench.nonce(&host, &guest).await, "nginx");
    // One bit in each stretch of the report: chain, payload, request, signature.
    for at in (0..report.len()).step_by(97).chain([report.len() - 1]) {
        let mut flipped = report.clone();
        flipped[at] ^= 1 << (at % 8);
        let answer = bench.submit(&host, &guest, &flipped).await;
        assert!(answer.0.is_client_error(), "byte {at}: {}", answer.1);
    }
    assert!(verdicts(&bench).await.is_empty());
    assert_eq!(bench.submit(&host, &guest, &report).await.0, StatusCode::OK);
}

#[tokio::test]
async fn the_revoked_get_no_token() {
    let (bench, host, guest) = start().await;
    let vm = guest.identity.to_string();
    let vm = vm.rsplit_once(':').unwrap().0;
    for (kind, subject, expected) in [
        ("application", "nginx", "application-revoked"),
        ("guest", vm, "guest-revoked"),
        ("host", &host.card.to_string(), "host-revoked"),
    ] {
        let nonce = bench.nonce(&host, &guest).await;
        let wish = json!({"kind": kind, "subject": subject, "reason": "test"});
        bench.post(&operator(), "/v1/revocations", wish).await;
        let answer = bench
            .submit(&host, &guest, &guest.attest(nonce, "nginx"))
            .await;
        refused(&bench, answer, expected).await;
        let path = format!("/v1/revocations?kind={kind}&subject={subject}");
        bench
            .call(&operator(), Method::DELETE, &path, Value::Null)
            .await;
    }
}

#[tokio::test]
async fn a_recycled_identity_is_refused_once_a_later_boot_was_seen() {
    let (bench, host, old) = start().await;
    let (early, late) = (
        bench.nonce(&host, &old).await,
        bench.nonce(&host, &old).await,
    );
    let answer = bench.submit(&host, &old, &old.attest(early, "nginx")).await;
    assert_eq!(answer.0, StatusCode::OK);
    let new = host.guest(1, 2);
    let report = new.attest(bench.nonce(&host, &new).await, "nginx");
    assert_eq!(bench.submit(&host, &new, &report).await.0, StatusCode::OK);
    let answer = bench.submit(&host, &old, &old.attest(late, "nginx")).await;
    assert_eq!(problem(&answer), "guest-superseded");
    let wish = json!({"guest": old.identity.to_string()});
    let answer = bench.post(&peer(&host), "/v1/nonces", wish).await;
    assert_eq!(problem(&answer), "guest-superseded");
    assert_eq!(verdicts(&bench).await.len(), 2);
    // The same VM on another host is another guest.
    let elsewhere = Host::enrolled(&bench.vault.fleet);
    let guest = elsewhere.guest(1, 1);
    let report = guest.attest(bench.nonce(&elsewhere, &guest).await, "nginx");
    assert_eq!(
        bench.submit(&elsewhere, &guest, &report).await.0,
        StatusCode::OK
    );
}

#[tokio::test]
async fn without_a_vault_there_is_neither_token_nor_verdict() {
    let (bench, host, guest) = start().await;
    let report = guest.attest(bench.nonce(&host, &guest).await, "nginx");
    bench.vault.refuse(true);
    let answer = bench.submit(&host, &guest, &report).await;
    assert_eq!(answer.0, StatusCode::SERVICE_UNAVAILABLE);
    refused(&bench, answer, "vault-refused").await;
}

#[tokio::test]
async fn without_a_database_there_is_no_token() {
    let (bench, host, guest) = start().await;
    let report = guest.attest(bench.nonce(&host, &guest).await, "nginx");
    bench.service.storage.close().await;
    let answer = bench.submit(&host, &guest, &report).await;
    assert_eq!(problem(&answer), "storage-unavailable");
    assert!(answer.1.get("token").is_none());
}

#[tokio::test]
async fn hostile_names_are_only_names() {
    let (bench, host, guest) = start().await;
    let name = "x'); DROP TABLE verdicts; --";
    let report = guest.attest(bench.nonce(&host, &guest).await, name);
    let answer = bench.submit(&host, &guest, &report).await;
    assert_eq!(answer.0, StatusCode::OK, "{}", answer.1);
    let query = "/v1/verdicts?application=x%27)%3B%20DROP%20TABLE%20verdicts%3B%20--";
    let (_, found) = bench.get(&operator(), query).await;
    assert_eq!(found["verdicts"][0]["application"], name);
    let (_, none) = bench
        .get(&operator(), "/v1/verdicts?guest=%25%27%20OR%201=1")
        .await;
    assert_eq!(none["verdicts"], json!([]));
    assert_eq!(
        problem(&bench.get(&operator(), "/v1/verdicts/%27").await),
        "no-verdict"
    );
}

#[tokio::test]
async fn nonces_are_bounded_per_guest_and_per_host() {
    let extra = "limits: {nonces_per_guest: 2, nonces_per_host: 3}";
    let bench = Bench::start_with(Authority::fleet(), extra).await;
    let host = Host::enrolled(&bench.vault.fleet);
    let ask = async |vm: u8| {
        let guest = GuestIdentity {
            card: host.card,
            vm: [vm; 16],
            boot: 1,
        };
        bench
            .post(
                &peer(&host),
                "/v1/nonces",
                json!({"guest": guest.to_string()}),
            )
            .await
    };
    for _ in 0..2 {
        assert_eq!(ask(1).await.0, StatusCode::OK);
    }
    assert_eq!(problem(&ask(1).await), "guest-nonces-exhausted");
    assert_eq!(ask(2).await.0, StatusCode::OK);
    assert_eq!(problem(&ask(3).await), "host-nonces-exhausted");
    let answer = bench
        .post(&peer(&host), "/v1/nonces", json!({"guest": "urn:x"}))
        .await;
    assert_eq!(problem(&answer), "field-out-of-range");
}
