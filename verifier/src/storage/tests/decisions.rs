//! Whose doing it was stays, also where it was undone.

use super::forks::fork;
use super::*;
use crate::storage::{Cleared, Decision, DecisionKind};

const CARD: CardId = CardId([7; 32]);

fn revocation(reason: &str) -> Revocation {
    Revocation {
        kind: RevocationKind::Application,
        subject: HOSTILE.into(),
        reason: reason.into(),
        operator: "ann".into(),
        created_at_ms: 1,
    }
}

async fn decisions(storage: &Storage) -> Vec<Decision> {
    let one = PageLimit { rows: 1, ..WHOLE };
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = storage.decisions(before, one).await.unwrap();
        before = page.rows.last().map(|last| last.number);
        all.extend(page.rows.into_iter().map(|row| row.decision));
        if !page.more {
            let whole = storage.decisions(None, WHOLE).await.unwrap().rows;
            let whole = whole.into_iter().map(|row| row.decision);
            assert!(whole.eq(all.iter().cloned()));
            return all;
        }
    }
}

#[tokio::test]
async fn what_was_undone_stays_written_down() {
    let database = database().await;
    let storage = &database.storage;
    assert_eq!(decisions(storage).await, []);
    storage.revoke(&revocation("stolen")).await.unwrap();
    let (kind, subject) = (RevocationKind::Application, HOSTILE);
    // Whoever changes nothing decides nothing.
    storage.revoke(&revocation("again")).await.unwrap();
    for done in [true, false] {
        let reinstated = storage.reinstate(kind, subject, "bob", 2).await;
        assert_eq!(reinstated.unwrap(), done);
    }
    fork(storage, CARD, 1).await;
    for outcome in [Cleared::Done, Cleared::NoFork] {
        let cleared = storage.clear_fork(CARD, "cat", 3).await;
        assert_eq!(cleared.unwrap(), outcome);
    }
    let decision = |at_ms, operator: &str, what, why: Option<&str>| Decision {
        at_ms,
        operator: operator.into(),
        what,
        kind,
        subject: subject.into(),
        why: why.map(Into::into),
    };
    let cleared = Decision {
        kind: RevocationKind::Host,
        subject: CARD.to_string(),
        ..decision(
            3,
            "cat",
            DecisionKind::ForkCleared,
            Some("`first` (first:1), then `second` (second:1)"),
        )
    };
    let expected = [
        cleared,
        decision(2, "bob", DecisionKind::Reinstated, None),
        decision(1, "ann", DecisionKind::Revoked, Some("stolen")),
    ];
    assert_eq!(decisions(storage).await, expected);
}

/// One transaction: where the one cannot be written, the other is not.
#[tokio::test]
async fn nothing_is_done_that_is_not_written_down() {
    let database = database().await;
    let storage = &database.storage;
    let (kind, subject) = (RevocationKind::Application, HOSTILE);
    let revoked = async || storage.is_revoked(kind, subject).await.unwrap();
    storage.revoke(&revocation("stolen")).await.unwrap();
    fork(storage, CARD, 1).await;
    let fails =
        "CREATE TRIGGER fails BEFORE INSERT ON decisions BEGIN SELECT raise(ABORT, 'full'); END";
    sqlx::query(fails).execute(&storage.writer).await.unwrap();
    assert!(storage.reinstate(kind, subject, "bob", 2).await.is_err());
    assert!(revoked().await);
    assert!(storage.clear_fork(CARD, "bob", 2).await.is_err());
    assert!(storage.fork_of(CARD).await.unwrap().is_some());
    let works = sqlx::query("DROP TRIGGER fails").execute(&storage.writer);
    works.await.unwrap();
    assert!(storage.reinstate(kind, subject, "bob", 2).await.unwrap());
    sqlx::query(fails).execute(&storage.writer).await.unwrap();
    assert!(storage.revoke(&revocation("stolen")).await.is_err());
    assert!(!revoked().await);
}
