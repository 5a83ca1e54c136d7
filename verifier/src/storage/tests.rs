use bartizan_attestation::identity::{CardId, GuestIdentity};

use super::{
    EnrolledHost, Evidence, JoinCodeError, KeptVerdict, PageLimit, Recorded, Revocation,
    RevocationCursor, RevocationKind, Storage, Verdict, VerdictFilter, VerdictLog, VerdictSummary,
};
use crate::config::{Keep, Retention};

mod evidence;
mod full_disk;
mod migration;

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
async fn a_join_code_is_good_once_for_its_host_name_until_it_expires() {
    let database = database().await;
    let storage = database.storage.clone();
    storage
        .add_join_code(&[1; 32], "h1", "ann", 100, 200)
        .await
        .unwrap();
    let refused = |result| matches!(result, Err(JoinCodeError::NotAccepted));
    assert!(
        refused(storage.use_join_code(&[2; 32], "h1", 150).await),
        "unknown"
    );
    assert!(
        refused(storage.use_join_code(&[1; 32], "h2", 150).await),
        "other name"
    );
    assert!(
        refused(storage.use_join_code(&[1; 32], "h1", 200).await),
        "expired"
    );
    assert_eq!(
        storage.use_join_code(&[1; 32], "h1", 150).await.unwrap(),
        "ann"
    );
    assert!(
        refused(storage.use_join_code(&[1; 32], "h1", 150).await),
        "used"
    );
    storage.release_join_code(&[1; 32]).await.unwrap();
    assert_eq!(
        storage.use_join_code(&[1; 32], "h1", 150).await.unwrap(),
        "ann"
    );
}

#[tokio::test]
async fn a_join_code_is_good_for_nothing_while_its_operator_is_revoked() {
    let database = database().await;
    let storage = database.storage.clone();
    for (code, operator) in [([1; 32], "ann"), ([2; 32], "bob")] {
        storage
            .add_join_code(&code, "h1", operator, 100, 200)
            .await
            .unwrap();
    }
    let revocation = |kind, subject: &str| Revocation {
        kind,
        subject: subject.into(),
        reason: "left".into(),
        operator: "bob".into(),
        created_at_ms: 1,
    };
    // An application of that name is somebody else.
    for (kind, subject) in [
        (RevocationKind::Operator, "ann"),
        (RevocationKind::Application, "bob"),
    ] {
        storage.revoke(&revocation(kind, subject)).await.unwrap();
    }
    let anns = storage.use_join_code(&[1; 32], "h1", 150).await;
    assert!(matches!(anns, Err(JoinCodeError::NotAccepted)), "{anns:?}");
    let bobs = storage.use_join_code(&[2; 32], "h1", 150).await;
    assert_eq!(bobs.unwrap(), "bob");
    let reinstated = storage.reinstate(RevocationKind::Operator, "ann").await;
    assert!(reinstated.unwrap());
    let anns = storage.use_join_code(&[1; 32], "h1", 150).await;
    assert_eq!(anns.unwrap(), "ann");
}

#[tokio::test]
async fn of_many_who_race_with_one_code_one_gets_it() {
    let database = database().await;
    let storage = database.storage.clone();
    storage
        .add_join_code(&[1; 32], "h1", "ann", 100, 200)
        .await
        .unwrap();
    let mut racers = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let storage = storage.clone();
        racers.spawn(async move { storage.use_join_code(&[1; 32], "h1", 150).await.is_ok() });
    }
    assert_eq!(
        racers
            .join_all()
            .await
            .into_iter()
            .filter(|won| *won)
            .count(),
        1
    );
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
            .standing(&guest(1), Some("nginx"))
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
            .standing(&guest(1), Some("nginx"))
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

#[tokio::test]
async fn a_revoked_vm_is_revoked_in_every_boot() {
    let database = database().await;
    let storage = database.storage.clone();
    let (one, two) = (guest(1), guest(2));
    let mut revocation = Revocation {
        kind: RevocationKind::Guest,
        subject: one.to_string(),
        reason: HOSTILE.into(),
        operator: "ann".into(),
        created_at_ms: 1,
    };
    storage.revoke(&revocation).await.unwrap();
    assert!(storage.standing(&one, None).await.unwrap().guest_revoked);
    assert!(!storage.standing(&two, None).await.unwrap().guest_revoked);
    revocation.subject = super::revocations::every_boot(&one);
    RevocationKind::Guest.check(&revocation.subject).unwrap();
    storage.revoke(&revocation).await.unwrap();
    assert!(storage.standing(&two, None).await.unwrap().guest_revoked);
    let listed = storage.revocations(None, WHOLE).await.unwrap();
    assert_eq!(listed.rows.len(), 2);
    assert!(
        storage
            .reinstate(RevocationKind::Guest, &revocation.subject)
            .await
            .unwrap()
    );
    assert!(!storage.standing(&two, None).await.unwrap().guest_revoked);
}

#[test]
fn a_revocation_must_name_something_that_can_match() {
    let card = CardId([0xab; 32]);
    RevocationKind::Host.check(&card.to_string()).unwrap();
    assert!(
        RevocationKind::Host
            .check(&card.to_string().to_uppercase())
            .is_err()
    );
    RevocationKind::Guest.check(&guest(4).to_string()).unwrap();
    for wrong in [
        "",
        "urn:bartizan:guest:",
        &format!("{}:", guest(4)),
        HOSTILE,
    ] {
        assert!(RevocationKind::Guest.check(wrong).is_err(), "{wrong}");
    }
    assert!(RevocationKind::Application.check("").is_err());
    RevocationKind::Operator.check("alice").unwrap();
    for wrong in [
        "",
        "Alice",
        "alice ",
        "urn:bartizan:operator:alice",
        HOSTILE,
    ] {
        assert!(RevocationKind::Operator.check(wrong).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn an_older_boot_is_superseded_and_writes_nothing() {
    let database = database().await;
    let storage = database.storage.clone();
    let (log, task) = VerdictLog::start(storage.clone(), for_ever());
    let high = guest(u64::MAX - 1);
    assert_eq!(
        log.record(high, verdict("1", &high, "a")).await.unwrap(),
        Recorded::Durable
    );
    assert_eq!(
        log.record(high, verdict("2", &high, "a")).await.unwrap(),
        Recorded::Durable
    );
    let low = guest(3);
    assert_eq!(
        log.record(low, verdict("3", &low, "a")).await.unwrap(),
        Recorded::Superseded
    );
    assert_eq!(storage.verdict("3").await.unwrap(), None);
    let standing = storage.standing(&low, None).await.unwrap();
    assert_eq!(standing.highest_boot, Some(u64::MAX - 1));
    drop(log);
    task.await.unwrap();
}

#[tokio::test]
async fn a_list_of_hosts_goes_on_though_its_last_host_enrolled_anew() {
    let database = database().await;
    let storage = &database.storage;
    let host = |card: u8, name: &str| EnrolledHost {
        card: CardId([card; 32]),
        name: name.into(),
        operator: "ann".into(),
        enrolled_at_ms: 1,
        certificate: vec![card],
    };
    for (card, name) in [(1, "a"), (2, "b"), (3, "c")] {
        storage.add_host(&host(card, name)).await.unwrap();
    }
    let after_b = host(2, "b").cursor();
    storage.add_host(&host(2, "z")).await.unwrap();
    let page = storage.hosts(Some(after_b), WHOLE).await.unwrap();
    let names: Vec<_> = page.rows.iter().map(|host| host.name.as_str()).collect();
    assert_eq!(names, ["c", "z"]);
}

#[tokio::test]
async fn every_list_is_whole_in_pages_of_any_size() {
    let storage = database().await;
    let storage = &storage.storage;
    let subject = |number: u8| format!("{number}:{HOSTILE}");
    let mut due = [Vec::new(), Vec::new(), Vec::new()];
    for number in 0..40_u8 {
        let host = EnrolledHost {
            card: CardId([number; 32]),
            // Several of one name.
            name: format!("h{}", number / 7),
            operator: "ann".into(),
            enrolled_at_ms: 1,
            certificate: vec![number; 10],
        };
        storage.add_host(&host).await.unwrap();
        let application = format!("a{number:02}");
        let put = storage.put_profile(&application, "{}", "ann", 1).await;
        put.unwrap();
        let revocation = Revocation {
            kind: RevocationKind::Application,
            subject: subject(number),
            reason: "a test".into(),
            operator: "ann".into(),
            // Several at one time, the newest with the lowest numbers.
            created_at_ms: 100 - u64::from(number / 7),
        };
        storage.revoke(&revocation).await.unwrap();
        due[0].push(host.cursor().to_string());
        due[1].push(application);
        due[2].push(revocation.cursor().to_string());
    }
    due[2].sort_by_key(|cursor| {
        let cursor: RevocationCursor = cursor.parse().unwrap();
        let text = cursor.to_string();
        let (at_ms, subject) = text.split_once(':').unwrap();
        (
            std::cmp::Reverse(at_ms.parse::<u64>().unwrap()),
            subject.to_owned(),
        )
    });
    for limit in [
        PageLimit { rows: 1, ..WHOLE },
        PageLimit { rows: 17, ..WHOLE },
        PageLimit { bytes: 1, ..WHOLE },
        PageLimit {
            bytes: 1000,
            ..WHOLE
        },
        WHOLE,
    ] {
        let mut found = [Vec::new(), Vec::new(), Vec::new()];
        loop {
            let after = found[0].last().map(|last: &String| last.parse().unwrap());
            let page = storage.hosts(after, limit).await.unwrap();
            found[0].extend(page.rows.iter().map(|host| host.cursor().to_string()));
            if !page.more {
                break;
            }
        }
        loop {
            let after = found[1].last().cloned();
            let page = storage.profiles(after.as_deref(), limit).await.unwrap();
            found[1].extend(page.rows.into_iter().map(|summary| summary.application));
            if !page.more {
                break;
            }
        }
        loop {
            let after = found[2].last().map(|last: &String| last.parse().unwrap());
            let page = storage.revocations(after, limit).await.unwrap();
            found[2].extend(page.rows.iter().map(|one| one.cursor().to_string()));
            if !page.more {
                break;
            }
        }
        assert_eq!(found, due, "{limit:?}");
    }
    for wrong in ["", "1", "1:application", "x:application:a", "1:verdict:a"] {
        assert!(wrong.parse::<RevocationCursor>().is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn verdicts_survive_reopening_and_are_listed_in_pages() {
    let database = database().await;
    let (log, _task) = VerdictLog::start(database.storage.clone(), for_ever());
    let mut records = tokio::task::JoinSet::new();
    for id in 10..60 {
        let log = log.clone();
        let application = if id % 2 == 0 { "even" } else { HOSTILE };
        let verdict = verdict(&id.to_string(), &guest(1), application);
        records.spawn(async move { log.record(guest(1), verdict).await.unwrap() });
    }
    assert!(
        records
            .join_all()
            .await
            .into_iter()
            .all(|outcome| outcome == Recorded::Durable)
    );
    let storage = Storage::open(&database.directory.path().join("v.db"))
        .await
        .unwrap();
    let mut filter = VerdictFilter {
        application: Some(HOSTILE.into()),
        guest: Some(guest(1).to_string()),
        ..VerdictFilter::default()
    };
    let twenty = PageLimit { rows: 20, ..WHOLE };
    let first = storage.verdicts(&filter, twenty).await.unwrap();
    assert!(first.more);
    let first = first.rows;
    assert_eq!(
        (first.len(), first[0].id.as_str(), first[19].id.as_str()),
        (20, "59", "21")
    );
    filter.after = Some(first[19].id.clone());
    let second = storage.verdicts(&filter, twenty).await.unwrap();
    assert!(!second.more);
    let second = second.rows;
    assert_eq!((second.len(), second[4].id.as_str()), (5, "11"));
    assert_eq!(
        storage.verdict("59").await.unwrap().unwrap(),
        kept(verdict("59", &guest(1), HOSTILE))
    );
    assert_eq!(storage.verdict(HOSTILE).await.unwrap(), None);
}
