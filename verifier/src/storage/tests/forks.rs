//! What becomes of forks that were found.

use bartizan_attestation::vault_counter::{FIRST_MARK, Machine, Statement};

use super::card_keys::{CARD, succeed, with_hosts};
use super::*;
use crate::storage::{Cleared, Fork, ForkSign, Reporter};

/// Two report in from one state.
pub(super) async fn fork(storage: &Storage, card: CardId, at_ms: u64) {
    for name in ["first", "second"] {
        let machine = Machine::new(name.into(), [1; 16]).unwrap();
        let statement = Statement {
            version: Statement::VERSION,
            card,
            counter: 1,
            mark: FIRST_MARK,
            random: [u8::try_from(name.len()).unwrap(); 32],
            machine: machine.clone(),
        };
        let from = Reporter {
            machine: Some(machine),
            address: format!("{name}:1"),
            at_ms,
        };
        let reported = storage.report_in(&statement, &from, [9; 32]);
        reported.await.unwrap();
    }
    let fork = storage.fork_of(card).await.unwrap();
    assert_eq!(fork.unwrap().sign, ForkSign::Counter);
}

/// Its counter shows a copy while its key is found to name two successors: what could be cleared cannot be any more.
#[tokio::test]
async fn a_fork_of_a_key_takes_the_place_of_one_of_a_counter() {
    let database = with_hosts().await;
    let storage = &database.storage;
    succeed(storage, 1, 3, 1000).await;
    fork(storage, CARD, 1001).await;
    let latter = Reporter {
        machine: None,
        address: "198.51.100.9:2".into(),
        at_ms: 1002,
    };
    let found = storage.fork_of_key(CARD, &[1; 32], &latter).await.unwrap();
    let expected = Fork {
        card: CARD,
        sign: ForkSign::Key,
        former: Reporter {
            machine: None,
            address: "192.0.2.7:1".into(),
            at_ms: 1000,
        },
        latter,
    };
    assert_eq!(found, expected);
    let forks = storage.forks().await.unwrap();
    assert_eq!(forks.iter().collect::<Vec<_>>(), [&expected]);
    let cleared = storage.clear_fork(CARD, "ann", 1003).await.unwrap();
    assert_eq!(cleared, Cleared::OfKey);
    // Whoever names a third one changes nothing.
    let third = Reporter {
        address: "198.51.100.9:3".into(),
        ..expected.latter.clone()
    };
    let found = storage.fork_of_key(CARD, &[1; 32], &third).await.unwrap();
    assert_eq!(found, expected);
}

/// Keys of these tests are accepted for 100 ms after they were succeeded.
#[tokio::test]
async fn a_fork_whose_two_can_have_different_keys_is_not_cleared() {
    for (succeeded_ms, forked_ms, clears) in [
        // Both had the former key, and one of them named its successor since: before it reported in, or after.
        (1000, 1000, false),
        (1000, 1099, false),
        (2000, 1000, false),
        // The former key was no good to either.
        (1000, 1100, true),
    ] {
        let database = with_hosts().await;
        let storage = &database.storage;
        succeed(storage, 1, 3, succeeded_ms).await;
        fork(storage, CARD, forked_ms).await;
        let expected = if clears {
            Cleared::Done
        } else {
            let address = "192.0.2.7:1".into();
            Cleared::Succeeded { address }
        };
        let cleared = storage.clear_fork(CARD, "ann", 9000).await.unwrap();
        assert_eq!(cleared, expected, "{succeeded_ms} {forked_ms}");
        assert_eq!(storage.fork_of(CARD).await.unwrap().is_none(), clears);
        // Another card's keys are none of its business.
        let other = CardId([2; 32]);
        fork(storage, other, 1000).await;
        let cleared = storage.clear_fork(other, "ann", 9000).await.unwrap();
        assert_eq!(cleared, Cleared::Done);
    }
}

/// What nobody can clear is done with once its card is revoked.
#[tokio::test]
async fn forks_of_revoked_cards_are_not_counted() {
    let database = with_hosts().await;
    let storage = &database.storage;
    let other = CardId([0xab; 32]);
    for card in [CARD, other] {
        fork(storage, card, 1000).await;
    }
    assert_eq!(storage.count_forks().await.unwrap(), 2);
    let mut revocation = Revocation {
        kind: RevocationKind::Application,
        subject: other.to_string(),
        reason: "copied".into(),
        operator: "ann".into(),
        created_at_ms: 1,
    };
    storage.revoke(&revocation).await.unwrap();
    assert_eq!(storage.count_forks().await.unwrap(), 2);
    revocation.kind = RevocationKind::Host;
    storage.revoke(&revocation).await.unwrap();
    assert_eq!(storage.count_forks().await.unwrap(), 1);
    // It is refused all the same, also where the revocation is taken back.
    assert!(storage.fork_of(other).await.unwrap().is_some());
    assert_eq!(storage.forks().await.unwrap().len(), 2);
}
