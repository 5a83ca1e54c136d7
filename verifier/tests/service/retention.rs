//! What operators see of verdicts whose evidence was dropped.

use axum::http::StatusCode;
use bartizan_attestation::digest::sha256;
use bartizan_verifier::clock::now_ms;
use serde_json::{Value, json};

use crate::bench::{Bench, operator};
use crate::fleet::Authority;
use crate::host::Host;

#[tokio::test]
async fn the_summary_and_the_reports_digest_stay() {
    let extra = "retention: {others: {age_s: 3600, per_guest: 1, per_host: 9}}";
    let bench = Bench::start_with(Authority::fleet(), extra).await;
    let host = Host::enrolled(&bench.vault.fleet);
    let guest = host.guest(1, 1);
    let mut verdicts = Vec::new();
    for _ in 0..2 {
        let report = guest.attest(bench.nonce(&host, &guest).await, "nginx");
        let (status, judged) = bench.submit(&host, &guest, &report).await;
        assert_eq!(status, StatusCode::OK, "{judged}");
        verdicts.push((judged["verdict"].as_str().unwrap().to_owned(), report));
    }
    let (_, listed) = bench.get(&operator(), "/v1/verdicts").await;
    assert_eq!(listed["verdicts"].as_array().unwrap().len(), 2);
    for ((id, report), kept) in verdicts.iter().zip([false, true]) {
        let (_, shown) = bench.get(&operator(), &format!("/v1/verdicts/{id}")).await;
        assert_eq!(shown["report_sha256"], hex::encode(sha256(report)));
        assert_eq!(shown["guest"], guest.identity.to_string());
        assert_eq!(shown["reasons"]["expected_digest"], "equal");
        assert_eq!(
            shown["report"].is_string() && shown["token"].is_string(),
            kept
        );
        let dropped = &shown["evidence_dropped_at_ms"];
        if kept {
            assert_eq!(dropped, &Value::Null);
        } else {
            assert_eq!(
                (&shown["report"], &shown["token"]),
                (&json!(null), &json!(null))
            );
            assert!(dropped.as_u64().unwrap().abs_diff(now_ms()) < 60_000);
        }
    }
}
