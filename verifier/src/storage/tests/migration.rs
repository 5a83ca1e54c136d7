//! A database of before the evidence had a table of its own.

use bartizan_attestation::digest::sha256;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use super::*;

#[tokio::test]
async fn verdicts_of_before_keep_their_evidence_and_get_its_digest() {
    let directory = tempfile::tempdir().unwrap();
    let old_migrations = directory.path().join("migrations");
    std::fs::create_dir(&old_migrations).unwrap();
    let initial = include_str!("../../../migrations/0001_initial.sql");
    std::fs::write(old_migrations.join("0001_initial.sql"), initial).unwrap();
    let path = directory.path().join("v.db");
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true);
    let old = SqlitePool::connect_with(options).await.unwrap();
    let migrator = sqlx::migrate::Migrator::new(old_migrations).await.unwrap();
    migrator.run(&old).await.unwrap();
    for (id, guest, status) in [("1", guest(9), "affirming"), ("2", guest(10), "none")] {
        sqlx::query(
            "INSERT INTO verdicts VALUES (?, 7, ?, ?, 'nginx', 3, ?, '[]', x'000102', 'a.b.c')",
        )
        .bind(id)
        .bind(guest.to_string())
        .bind(guest.card.0.as_slice())
        .bind(status)
        .execute(&old)
        .await
        .unwrap();
    }
    sqlx::query("INSERT INTO hosts VALUES (?, 'host-1', 'ann', 7, x'00')")
        .bind(guest(9).card.0.as_slice())
        .execute(&old)
        .await
        .unwrap();
    old.close().await;

    let storage = Storage::open(&path).await.unwrap();
    let mut expected = verdict("1", &guest(9), "nginx");
    expected.summary.report_sha256 = sha256(&[0, 1, 2]);
    assert_eq!(storage.verdict("1").await.unwrap(), Some(kept(expected)));
    // Until then a card had the one key that it is named by.
    let host = storage.host(guest(9).card).await.unwrap().unwrap();
    assert_eq!(host.card_key, guest(9).card.0);
    // Both are of one VM, and their statuses are known to the policy.
    let vms: Vec<(String, i64)> =
        sqlx::query_as("SELECT vm, affirming FROM evidence ORDER BY number")
            .fetch_all(&storage.readers)
            .await
            .unwrap();
    let vm = super::super::revocations::every_boot(&guest(9));
    assert_eq!(vms, [(vm.clone(), 1), (vm, 0)]);
}
