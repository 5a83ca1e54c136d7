use bartizan_attestation::identity::{CardId, GuestIdentity};

use super::{
    EnrolledHost, Evidence, JoinCodeError, KeptVerdict, PageLimit, Recorded, Revocation,
    RevocationCursor, RevocationKind, Storage, Verdict, VerdictFilter, VerdictLog, VerdictSummary,
};
use crate::config::{Keep, Retention};

mod bundles;
mod card_keys;
mod counters;
mod decisions;
mod evidence;
mod forks;
mod full_disk;
mod join_codes;
mod lists;
mod migration;
mod revocations;
mod tpms;

/// Text that would break a query made by pasting.
const HOSTILE: &str = "x'); DROP TABLE verdicts; --\"%_\\\0";

/// A page that holds everything.
const WHOLE: PageLimit = PageLimit {
    rows: u32::MAX,
    bytes: usize::MAX,
};

struct Database {
    storage: Storage,
    directory: tempfile::TempDir,
}

async fn database() -> Database {
    let directory = tempfile::tempdir().unwrap();
    let storage = Storage::open(&directory.path().join("v.db")).await.unwrap();
    Database { storage, directory }
}

fn guest(boot: u64) -> GuestIdentity {
    GuestIdentity {
        card: CardId([1; 32]),
        vm: [2; 16],
        boot,
    }
}

fn verdict(id: &str, guest: &GuestIdentity, application: &str) -> Verdict {
    Verdict {
        summary: VerdictSummary {
            id: id.into(),
            judged_at_ms: 7,
            guest: guest.to_string(),
            host: guest.card,
            application: application.into(),
            profile_revision: Some(3),
            status: "affirming".into(),
            reasons: "[]".into(),
            report_sha256: [5; 32],
        },
        evidence: Evidence {
            report: vec![0, 1, 2],
            token: "a.b.c".into(),
        },
    }
}

/// A policy that drops nothing of what these tests write, who judge in 1970.
fn for_ever() -> Retention {
    let keep = Keep {
        age_s: u64::MAX,
        per_guest: u32::MAX,
        per_host: u32::MAX,
    };
    Retention {
        affirming: keep,
        others: keep,
    }
}

fn kept(verdict: Verdict) -> KeptVerdict {
    KeptVerdict {
        summary: verdict.summary,
        evidence: Ok(verdict.evidence),
    }
}

#[tokio::test]
async fn the_file_is_private_and_flushed_on_every_commit() {
    use std::os::unix::fs::PermissionsExt as _;
    let database = database().await;
    for file in ["v.db", "v.db-wal"] {
        let mode = std::fs::metadata(database.directory.path().join(file))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600, "{file}");
    }
    let mode: i64 = sqlx::query_scalar("PRAGMA synchronous")
        .fetch_one(&database.storage.writer)
        .await
        .unwrap();
    assert_eq!(mode, 2, "FULL");
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&database.storage.writer)
        .await
        .unwrap();
    assert_eq!(journal, "wal");
}

#[tokio::test]
async fn a_database_that_others_could_read_is_closed_to_them() {
    use std::os::unix::fs::PermissionsExt as _;
    let database = database().await;
    let file = |suffix: &str| database.directory.path().join(format!("v.db{suffix}"));
    let all = ["", "-wal", "-shm"];
    for suffix in all {
        let open_to_all = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions(file(suffix), open_to_all).unwrap();
    }
    let again = Storage::open(&file("")).await.unwrap();
    for suffix in all {
        let mode = std::fs::metadata(file(suffix))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{suffix}");
    }
    again.check().await.unwrap();
}

#[tokio::test]
async fn profiles_have_revisions_that_never_come_back() {
    let database = database().await;
    let storage = database.storage.clone();
    assert_eq!(storage.profile("nginx").await.unwrap(), None);
    assert_eq!(
        storage.put_profile("nginx", "{}", "ann", 1).await.unwrap(),
        1
    );
    assert_eq!(
        storage.put_profile("nginx", "{2}", "bob", 2).await.unwrap(),
        2
    );
    assert_eq!(storage.profile("nginx").await.unwrap().unwrap().body, "{2}");
    assert!(storage.withdraw_profile("nginx", "ann", 3).await.unwrap());
    assert!(!storage.withdraw_profile("nginx", "ann", 4).await.unwrap());
    assert_eq!(storage.profile("nginx").await.unwrap(), None);
    assert_eq!(storage.profiles(None, WHOLE).await.unwrap().rows, []);
    assert_eq!(
        storage
            .standing(&guest(1), Some("nginx"), &[[1; 32]; 2], 0)
            .await
            .unwrap()
            .profile_revision,
        None
    );
    assert_eq!(
        storage.put_profile("nginx", "{4}", "ann", 5).await.unwrap(),
        4
    );
    assert_eq!(
        storage
            .standing(&guest(1), Some("nginx"), &[[1; 32]; 2], 0)
            .await
            .unwrap()
            .profile_revision,
        Some(4)
    );
    let listed = storage.profiles(None, WHOLE).await.unwrap().rows;
    assert_eq!(
        (
            listed.len(),
            listed[0].revision,
            listed[0].operator.as_str()
        ),
        (1, 4, "ann")
    );
}
