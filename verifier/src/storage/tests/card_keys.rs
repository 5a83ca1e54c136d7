//! Keys of cards that others came after.

use bartizan_attestation::keys::VaultKind;
use proptest::prelude::*;

use super::*;
use crate::storage::{KeyId, Succeeded, Succeeding};

pub(super) const CARD: CardId = CardId([1; 32]);

pub(super) async fn with_hosts() -> Database {
    let database = database().await;
    for card in [1, 2] {
        let host = EnrolledHost {
            card: CardId([card; 32]),
            name: format!("host-{card}"),
            operator: "ann".into(),
            enrolled_at_ms: 1,
            certificate: vec![card],
            card_key: [card; 32],
            vault: VaultKind::Software,
            tpm: None,
        };
        database.storage.add_host(&host).await.unwrap();
    }
    database
}

pub(super) async fn succeed(storage: &Storage, from: u8, to: u8, now_ms: u64) -> Succeeded {
    let change = Succeeding {
        card: CARD,
        from: [from; 32],
        to: [to; 32],
        certificate: &[from, to],
        now_ms,
        address: "192.0.2.7:1",
        accepted_until_ms: now_ms + 100,
    };
    storage.succeed(&change).await.unwrap()
}

async fn has_ended(storage: &Storage, key: u8, now_ms: u64) -> bool {
    let key: KeyId = [key; 32];
    let standing = storage.host_standing(CARD, &key, now_ms).await.unwrap();
    assert!(!standing.revoked);
    // Whichever of the two keys of a report it certified.
    for keys in [[key, [99; 32]], [[99; 32], key]] {
        let guest = guest(1);
        let of_report = storage.standing(&guest, None, &keys, now_ms).await.unwrap();
        assert_eq!(of_report.card_key_ended, standing.key_ended);
    }
    standing.key_ended
}

#[tokio::test]
async fn a_superseded_key_is_accepted_to_the_end_of_its_overlap() {
    let database = with_hosts().await;
    let storage = &database.storage;
    let recorded = succeed(storage, 1, 3, 1000).await;
    assert_eq!(recorded, Succeeded::Certificate(vec![1, 3]));
    for (key, now_ms, ended) in [
        (1, 1099, false),
        (1, 1100, true),
        (1, 1_000_000, true),
        (3, 1_000_000, false),
        (2, 1_000_000, false),
    ] {
        assert_eq!(
            has_ended(storage, key, now_ms).await,
            ended,
            "{key} {now_ms}"
        );
    }
    let host = storage.host(CARD).await.unwrap().unwrap();
    assert_eq!((host.card_key, host.certificate), ([3; 32], vec![1, 3]));
}

#[tokio::test]
async fn the_same_succession_again_has_the_same_answer_and_another_has_none() {
    let database = with_hosts().await;
    let storage = &database.storage;
    succeed(storage, 1, 3, 1000).await;
    // Its overlap is not begun anew.
    let again = succeed(storage, 1, 3, 2000).await;
    assert_eq!(again, Succeeded::Certificate(vec![1, 3]));
    assert!(has_ended(storage, 1, 2000).await);
    // Itself once more is a message that was late; a third one is not.
    assert_eq!(succeed(storage, 1, 1, 2000).await, Succeeded::Superseded);
    let third = succeed(storage, 1, 4, 2000).await;
    assert_eq!(third, Succeeded::OtherSuccessor);
    // Back to a key of before, and to another card's.
    for to in [1, 2] {
        assert_eq!(succeed(storage, 3, to, 2000).await, Succeeded::Taken);
    }
    // Once there is a later one, that answer is history.
    succeed(storage, 3, 4, 2000).await;
    assert_eq!(succeed(storage, 1, 3, 2000).await, Succeeded::Superseded);
    assert!(storage.is_key_taken(&[3; 32], CARD).await.unwrap());
    assert!(!storage.is_key_taken(&[4; 32], CARD).await.unwrap());
    let other = CardId([4; 32]);
    assert!(storage.is_key_taken(&[4; 32], other).await.unwrap());
}

#[tokio::test]
async fn a_renewal_supersedes_nothing() {
    let database = with_hosts().await;
    let storage = &database.storage;
    let renewed = succeed(storage, 1, 1, 1000).await;
    assert_eq!(renewed, Succeeded::Certificate(vec![1, 1]));
    assert!(!has_ended(storage, 1, u64::MAX).await);
    let host = storage.host(CARD).await.unwrap().unwrap();
    assert_eq!((host.card_key, host.certificate), ([1; 32], vec![1, 1]));
    let unlisted = Succeeding {
        card: CardId([9; 32]),
        from: [9; 32],
        to: [8; 32],
        certificate: &[],
        now_ms: 1,
        address: "192.0.2.7:1",
        accepted_until_ms: 2,
    };
    let answer = storage.succeed(&unlisted).await.unwrap();
    assert_eq!(answer, Succeeded::NotListed);
    assert!(
        !has_ended(storage, 9, u64::MAX).await,
        "nothing is recorded"
    );
}

/// Of two that name different successors one is recorded, whichever comes first.
#[tokio::test]
async fn of_two_at_once_one_is_recorded() {
    let database = with_hosts().await;
    let storage = &database.storage;
    let (one, other) = tokio::join!(succeed(storage, 1, 3, 1000), succeed(storage, 1, 4, 1000));
    let recorded = |answer: &Succeeded| matches!(answer, Succeeded::Certificate(_));
    assert_ne!(recorded(&one), recorded(&other), "{one:?} {other:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whatever is asked for by any key that the card has had, keys go one way, and none comes back.
    #[test]
    fn keys_go_one_way(wishes in prop::collection::vec((any::<prop::sample::Index>(), 1..6_u8), 1..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let database = with_hosts().await;
            let mut had = vec![1_u8];
            for (from, to) in wishes {
                let (from, present) = (had[from.index(had.len())], had[had.len() - 1]);
                let answer = succeed(&database.storage, from, to, 1000).await;
                let fresh = !had.contains(&to) && to != 2;
                let repeated = had.ends_with(&[from, to]);
                let right = if from == present { fresh || to == present } else { repeated };
                assert_eq!(matches!(answer, Succeeded::Certificate(_)), right, "{had:?} {from} {to}");
                if from == present && fresh {
                    had.push(to);
                }
                let host = database.storage.host(CARD).await.unwrap().unwrap();
                assert_eq!(host.card_key, [had[had.len() - 1]; 32]);
            }
            database.storage.close().await;
        });
    }
}
