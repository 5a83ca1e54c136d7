//! What is dropped, and what is not.

use std::time::Duration;

use super::super::Storage;
use super::super::retention::{BATCH_ROWS, Dropper};
use super::*;
use crate::clock::now_ms;

fn policy(affirming: Keep, others: Keep) -> Retention {
    Retention { affirming, others }
}

fn keep(age_s: u64, per_guest: u32) -> Keep {
    Keep {
        age_s,
        per_guest,
        per_host: 1000,
    }
}

fn judged(id: &str, guest: &GuestIdentity, status: &str, judged_at_ms: u64) -> Verdict {
    let mut verdict = verdict(id, guest, "nginx");
    verdict.summary.status = status.into();
    verdict.summary.judged_at_ms = judged_at_ms;
    verdict
}

async fn is_kept(storage: &Storage, id: &str) -> bool {
    let verdict = storage.verdict(id).await.unwrap().unwrap();
    if let Err(dropped_at) = verdict.evidence {
        assert!(dropped_at.abs_diff(now_ms()) < 60_000, "{dropped_at}");
    }
    verdict.evidence.is_ok()
}

async fn kept_ids(storage: &Storage, ids: &[&str]) -> Vec<String> {
    let mut kept = Vec::new();
    for id in ids {
        if is_kept(storage, id).await {
            kept.push((*id).to_owned());
        }
    }
    kept
}

#[tokio::test]
async fn of_each_vm_the_latest_are_kept_and_those_that_do_not_affirm_apart() {
    let storage = database().await;
    let year = 365 * 86_400;
    let policy = policy(keep(year, 2), keep(year, 3));
    let (log, _task) = VerdictLog::start(storage.storage.clone(), policy);
    let mut other = guest(1);
    other.vm = [9; 16];
    // In the order of their writing, not of their ids: a clock may have been set back. A new boot is
    // no new VM.
    let record = [
        ("z", guest(1), "affirming"),
        ("y", guest(1), "contraindicated"),
        ("x", other, "affirming"),
        ("c", guest(2), "affirming"),
        ("b", guest(2), "affirming"),
        ("a", guest(2), "none"),
    ];
    for (id, guest, status) in record {
        let verdict = judged(id, &guest, status, now_ms());
        log.record(guest, verdict).await.unwrap();
    }
    let all = ["z", "y", "x", "c", "b", "a"];
    let kept = kept_ids(&storage.storage, &all).await;
    assert_eq!(kept, ["y", "x", "c", "b", "a"]);
    // The summary of all is there.
    let filter = VerdictFilter::default();
    let listed = storage.storage.verdicts(&filter, WHOLE).await.unwrap();
    let listed = listed.rows;
    assert_eq!(listed.len(), all.len());
    assert!(
        listed
            .iter()
            .all(|verdict| verdict.report_sha256 == [5; 32])
    );
}

#[tokio::test]
async fn a_host_with_ever_new_vms_has_its_evidence_bounded_too() {
    let storage = database().await;
    let mut keep = keep(365 * 86_400, 9);
    keep.per_host = 3;
    let (log, _task) = VerdictLog::start(storage.storage.clone(), policy(keep, keep));
    for number in 0..6 {
        let mut guest = guest(1);
        guest.vm = [number; 16];
        let verdict = judged(&number.to_string(), &guest, "affirming", now_ms());
        log.record(guest, verdict).await.unwrap();
    }
    let mut elsewhere = guest(1);
    elsewhere.card = CardId([7; 32]);
    let verdict = judged("e", &elsewhere, "affirming", now_ms());
    log.record(elsewhere, verdict).await.unwrap();
    let kept = kept_ids(&storage.storage, &["0", "1", "2", "3", "4", "5", "e"]).await;
    assert_eq!(kept, ["3", "4", "5", "e"]);
}

#[tokio::test]
async fn a_stricter_policy_is_come_to_in_steps() {
    let storage = database().await;
    let year = 365 * 86_400;
    let ids = ["1", "2", "3", "4", "5", "6"];
    let lax = policy(keep(year, 6), keep(year, 6));
    let strict = policy(keep(year, 2), keep(year, 2));
    let (log, task) = VerdictLog::start(storage.storage.clone(), lax);
    for id in ids {
        let verdict = judged(id, &guest(1), "affirming", now_ms());
        log.record(guest(1), verdict).await.unwrap();
    }
    drop(log);
    task.await.unwrap();
    let (log, _task) = VerdictLog::start(storage.storage.clone(), strict);
    for (id, left) in [("7", 5), ("8", 4), ("9", 3), ("10", 2), ("11", 2)] {
        let verdict = judged(id, &guest(1), "affirming", now_ms());
        log.record(guest(1), verdict).await.unwrap();
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM evidence")
            .fetch_one(&storage.storage.readers)
            .await
            .unwrap();
        assert_eq!(count, left, "after {id}");
    }
    assert!(is_kept(&storage.storage, "11").await && is_kept(&storage.storage, "10").await);
}

#[tokio::test]
async fn the_old_are_dropped_in_batches_and_those_that_do_not_affirm_later() {
    let storage = database().await;
    let (log, task) = VerdictLog::start(storage.storage.clone(), for_ever());
    let now = now_ms();
    for number in 0..BATCH_ROWS + 5 {
        let verdict = judged(&format!("{number}"), &guest(1), "affirming", now - 100_000);
        log.record(guest(1), verdict).await.unwrap();
    }
    for (id, status, age_ms) in [
        ("young", "affirming", 50_000),
        ("warned", "warning", 100_000),
        ("old", "warning", 300_000),
    ] {
        let verdict = judged(id, &guest(1), status, now - age_ms);
        log.record(guest(1), verdict).await.unwrap();
    }
    drop(log);
    task.await.unwrap();
    let count = async || -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM evidence")
            .fetch_one(&storage.storage.readers)
            .await
            .unwrap()
    };
    let dropper = Dropper::new(policy(keep(90, 1000), keep(200, 1000)));
    let again = dropper.drop_aged(&storage.storage).await;
    assert_eq!((count().await, again), (8, Duration::from_millis(100)));
    let again = dropper.drop_aged(&storage.storage).await;
    assert_eq!((count().await, again), (2, Duration::from_secs(60)));
    let kept = kept_ids(&storage.storage, &["0", "old", "young", "warned"]).await;
    assert_eq!(kept, ["young", "warned"]);
}

#[tokio::test]
async fn large_reports_make_small_batches() {
    let storage = database().await;
    let (log, task) = VerdictLog::start(storage.storage.clone(), for_ever());
    for number in 0..5 {
        let mut verdict = judged(&format!("{number}"), &guest(1), "affirming", 7);
        verdict.evidence.report = vec![0; 3 << 20];
        log.record(guest(1), verdict).await.unwrap();
    }
    drop(log);
    task.await.unwrap();
    let dropper = Dropper::new(policy(keep(60, 9), keep(60, 9)));
    for left in [3, 1, 0] {
        dropper.drop_aged(&storage.storage).await;
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM evidence")
            .fetch_one(&storage.storage.readers)
            .await
            .unwrap();
        assert_eq!(count, left);
    }
}

#[tokio::test]
async fn the_log_itself_drops_what_is_old_while_verdicts_keep_coming() {
    let storage = database().await;
    let year = 365 * 86_400;
    let (log, task) = VerdictLog::start(storage.storage.clone(), for_ever());
    let old = judged("old", &guest(1), "affirming", now_ms() - 100_000);
    log.record(guest(1), old).await.unwrap();
    drop(log);
    task.await.unwrap();
    let (log, _task) =
        VerdictLog::start(storage.storage.clone(), policy(keep(60, 9), keep(year, 9)));
    let until = std::time::Instant::now() + Duration::from_secs(20);
    let mut number = 0;
    while is_kept(&storage.storage, "old").await {
        assert!(std::time::Instant::now() < until, "it is never dropped");
        number += 1;
        let young = judged(&format!("{number}"), &guest(1), "warning", now_ms());
        log.record(guest(1), young).await.unwrap();
    }
}
