//! Databases of before.

use std::path::Path;

use bartizan_attestation::digest::sha256;
use bartizan_attestation::vault_counter::Machine;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use super::*;
use crate::storage::{Cleared, Decision, DecisionKind, Fork, ForkSign, Reporter};

/// A database in this folder as it was after the migration of this number.
async fn of(last: &str, directory: &Path) -> SqlitePool {
    let migrations = directory.join("migrations");
    std::fs::create_dir(&migrations).unwrap();
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    for file in std::fs::read_dir(all).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        if &name[..4] <= last {
            std::fs::copy(file.path(), migrations.join(name)).unwrap();
        }
    }
    let options = SqliteConnectOptions::new()
        .filename(directory.join("v.db"))
        .create_if_missing(true);
    let old = SqlitePool::connect_with(options).await.unwrap();
    let migrator = sqlx::migrate::Migrator::new(migrations).await.unwrap();
    migrator.run(&old).await.unwrap();
    old
}

/// Before the evidence had a table of its own.
#[tokio::test]
async fn verdicts_of_before_keep_their_evidence_and_get_its_digest() {
    let directory = tempfile::tempdir().unwrap();
    let old = of("0001", directory.path()).await;
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

    let storage = Storage::open(&directory.path().join("v.db")).await;
    let storage = storage.unwrap();
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

/// Before a fork could be of a key, and before it was written down who decided what.
#[tokio::test]
async fn forks_and_revocations_of_before_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let old = of("0008", directory.path()).await;
    let cards = [CardId([1; 32]), CardId([2; 32])];
    for card in cards {
        sqlx::query(
            "INSERT INTO vault_forks VALUES
                 (?, 'first', ?, 'first:1', 10, 'second', ?, 'second:2', 20)",
        )
        .bind(card.0.as_slice())
        .bind([3; 16].as_slice())
        .bind([4; 16].as_slice())
        .execute(&old)
        .await
        .unwrap();
    }
    // Of which it is not known from where.
    sqlx::query("INSERT INTO superseded_card_keys VALUES (?, ?, ?, 9, 11)")
        .bind([1; 32].as_slice())
        .bind([1; 32].as_slice())
        .bind([5; 32].as_slice())
        .execute(&old)
        .await
        .unwrap();
    sqlx::query("INSERT INTO revocations VALUES ('application', 'nginx', 'stolen', 'ann', 7)")
        .execute(&old)
        .await
        .unwrap();
    old.close().await;

    let storage = Storage::open(&directory.path().join("v.db")).await;
    let storage = storage.unwrap();
    let reporter = |name: &str, boot, address: &str, at_ms| Reporter {
        machine: Some(Machine::new(name.into(), [boot; 16]).unwrap()),
        address: address.into(),
        at_ms,
    };
    let fork = |card| Fork {
        card,
        sign: ForkSign::Counter,
        former: reporter("first", 3, "first:1", 10),
        latter: reporter("second", 4, "second:2", 20),
    };
    assert_eq!(storage.forks().await.unwrap(), cards.map(fork));
    let cleared = storage.clear_fork(cards[0], "bob", 21).await.unwrap();
    let address = "unknown".into();
    assert_eq!(cleared, Cleared::Succeeded { address });
    let cleared = storage.clear_fork(cards[1], "bob", 21).await.unwrap();
    assert_eq!(cleared, Cleared::Done);

    let decided = storage.decisions(None, WHOLE).await.unwrap().rows;
    let revoked = Decision {
        at_ms: 7,
        operator: "ann".into(),
        what: DecisionKind::Revoked,
        kind: RevocationKind::Application,
        subject: "nginx".into(),
        why: Some("stolen".into()),
    };
    assert_eq!(decided.len(), 2);
    assert_eq!((decided[1].number, &decided[1].decision), (1, &revoked));
}
