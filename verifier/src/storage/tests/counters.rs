use bartizan_attestation::identity::CardId;
use bartizan_attestation::vault_counter::{FIRST_MARK, Machine, Mark, Statement};

use super::database;
use crate::storage::{Cleared, Fork, ForkSign, Reported, Reporter, Storage};

const CARD: CardId = CardId([7; 32]);

fn machine(name: &str) -> Machine {
    Machine::new(name.into(), [1; 16]).unwrap()
}

fn statement(counter: u64, mark: Mark, random: u8) -> Statement {
    Statement {
        version: Statement::VERSION,
        card: CARD,
        counter,
        mark,
        random: [random; 32],
        machine: machine("first"),
    }
}

fn from(name: &str) -> Reporter {
    Reporter {
        machine: Some(machine(name)),
        address: format!("{name}:1"),
        at_ms: 5,
    }
}

async fn report(storage: &Storage, name: &str, statement: &Statement, next: u8) -> Reported {
    let from = from(name);
    let reported = storage.report_in(statement, &from, [next; 32]);
    reported.await.unwrap()
}

fn fork() -> Reported {
    Reported::Fork(Box::new(Fork {
        card: CARD,
        sign: ForkSign::Counter,
        former: from("first"),
        latter: from("second"),
    }))
}

#[tokio::test]
async fn what_is_due_is_answered_and_the_same_again_alike() {
    let database = database().await;
    let storage = &database.storage;
    let first = statement(1, FIRST_MARK, 1);
    let second = statement(2, [11; 32], 2);
    assert!(!storage.would_be_fork(&second).await.unwrap());
    assert_eq!(
        report(storage, "first", &first, 11).await,
        Reported::Mark([11; 32])
    );
    for next in [&first, &second] {
        assert!(!storage.would_be_fork(next).await.unwrap());
    }
    // The answer was lost: no new mark.
    assert_eq!(
        report(storage, "first", &first, 12).await,
        Reported::Mark([11; 32])
    );
    assert_eq!(
        report(storage, "first", &second, 13).await,
        Reported::Mark([13; 32])
    );
    assert_eq!(storage.fork_of(CARD).await.unwrap(), None);
    assert_eq!(storage.count_forks().await.unwrap(), 0);
    assert_eq!(
        storage.clear_fork(CARD, "ann", 6).await.unwrap(),
        Cleared::NoFork
    );
    // And that was no reason to forget the counter.
    assert_eq!(
        report(storage, "first", &second, 14).await,
        Reported::Mark([13; 32])
    );
}

#[tokio::test]
async fn whoever_goes_on_from_what_is_used_up_is_a_fork() {
    for forked in [
        // A copy made after the first answer, and one of before, another random, a mark of nobody's, a counter ahead.
        statement(2, [11; 32], 9),
        statement(1, FIRST_MARK, 9),
        statement(1, FIRST_MARK, 1),
        statement(3, [99; 32], 9),
        statement(4, [12; 32], 9),
        statement(u64::MAX, [12; 32], 9),
    ] {
        let database = database().await;
        let storage = &database.storage;
        report(storage, "first", &statement(1, FIRST_MARK, 1), 11).await;
        report(storage, "first", &statement(2, [11; 32], 2), 12).await;
        assert!(storage.would_be_fork(&forked).await.unwrap(), "{forked:?}");
        assert_eq!(storage.count_forks().await.unwrap(), 0);
        assert_eq!(
            report(storage, "second", &forked, 13).await,
            fork(),
            "{forked:?}"
        );
        // From then on neither, whatever it shows.
        let due = statement(3, [12; 32], 3);
        assert_eq!(report(storage, "first", &due, 14).await, fork());
        let known = storage.fork_of(CARD).await.unwrap();
        assert_eq!(
            known.map(|known| Reported::Fork(Box::new(known))),
            Some(fork())
        );
        assert_eq!(storage.count_forks().await.unwrap(), 1);
        assert_eq!(storage.fork_of(CardId([8; 32])).await.unwrap(), None);
        assert_eq!(storage.forks().await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_cleared_one_goes_on_with_whoever_comes_first() {
    let database = database().await;
    let storage = &database.storage;
    report(storage, "first", &statement(1, FIRST_MARK, 1), 11).await;
    report(storage, "second", &statement(1, FIRST_MARK, 2), 12).await;
    assert_eq!(
        storage.clear_fork(CARD, "ann", 6).await.unwrap(),
        Cleared::Done
    );
    assert_eq!(storage.count_forks().await.unwrap(), 0);
    let next = statement(2, [11; 32], 3);
    assert_eq!(
        report(storage, "first", &next, 13).await,
        Reported::Mark([13; 32])
    );
    let stale = statement(2, [11; 32], 4);
    assert_eq!(report(storage, "second", &stale, 14).await, fork());
}

#[tokio::test]
async fn of_two_at_once_one_comes_second() {
    let database = database().await;
    let storage = &database.storage;
    report(storage, "first", &statement(1, FIRST_MARK, 1), 11).await;
    let (one, other) = (statement(2, [11; 32], 2), statement(2, [11; 32], 3));
    let (one, other) = tokio::join!(
        report(storage, "first", &one, 12),
        report(storage, "first", &other, 13)
    );
    let marks = [&one, &other].map(|reported| matches!(reported, Reported::Mark(_)));
    assert_eq!(
        marks.iter().filter(|mark| **mark).count(),
        1,
        "{one:?} {other:?}"
    );
}
