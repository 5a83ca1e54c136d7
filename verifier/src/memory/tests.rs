use std::time::Duration;

use bartizan_attestation::identity::CardId;
use proptest::prelude::*;
use tokio::time::Instant;

use super::{MemoryBudget, MemoryError};
use crate::payer::Payer;

fn host(number: u8) -> Payer {
    Payer::Host(CardId([number; 32]))
}

#[test]
fn one_payer_gets_half_and_the_next_still_something() {
    let budget = MemoryBudget::new(100);
    let one = budget.try_take(&host(1), 50).unwrap();
    assert_eq!(
        budget.try_take(&host(1), 1).unwrap_err(),
        MemoryError::Share
    );
    let two = budget.try_take(&host(2), 25).unwrap();
    assert_eq!(
        budget.try_take(&host(2), 1).unwrap_err(),
        MemoryError::Share
    );
    assert_eq!(
        budget.try_take(&host(3), 13).unwrap_err(),
        MemoryError::Full
    );
    budget.try_take(&host(3), 12).unwrap();
    drop((one, two));
    assert_eq!(budget.free(), 100);
    budget.try_take(&host(1), 50).unwrap();
    assert!(budget.try_take(&host(1), usize::MAX).is_err());
}

#[tokio::test]
async fn who_waits_for_much_does_not_hold_up_who_needs_little() {
    let budget = MemoryBudget::new(100);
    let held = budget.try_take(&host(1), 50).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let large = tokio::spawn({
        let budget = budget.clone();
        async move { budget.take(&host(2), 40, until).await.map(drop) }
    });
    tokio::task::yield_now().await;
    budget.take(&host(3), 10, until).await.map(drop).unwrap();
    assert!(!large.is_finished());
    drop(held);
    large.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_wait_ends() {
    let budget = MemoryBudget::new(100);
    let _held = budget.try_take(&host(1), 50).unwrap();
    let soon = Instant::now() + Duration::from_millis(10);
    let refused = budget.take(&host(1), 20, soon).await;
    assert_eq!(refused.unwrap_err(), MemoryError::Share);
}

proptest! {
    #[test]
    fn nobody_ever_takes_what_the_next_would_need(
        steps in prop::collection::vec((0u8..6, 0usize..70, any::<bool>()), 1..200),
    ) {
        const TOTAL: usize = 100;
        let budget = MemoryBudget::new(TOTAL);
        let mut shares = Vec::new();
        for (payer, bytes, give_back) in steps {
            if give_back {
                if !shares.is_empty() {
                    shares.swap_remove(bytes % shares.len());
                }
            } else if let Ok(share) = budget.try_take(&host(payer), bytes) {
                let held: usize = shares.iter().chain([&share])
                    .filter(|share| share.payer == host(payer))
                    .map(|share| share.bytes)
                    .sum();
                prop_assert!(held <= budget.free(), "no more than what is left");
                shares.push(share);
            }
            let held: usize = shares.iter().map(|share| share.bytes).sum();
            prop_assert_eq!(held + budget.free(), TOTAL);
            // A newcomer gets half of what is free.
            budget.try_take(&host(99), budget.free() / 2).unwrap();
        }
        shares.clear();
        prop_assert_eq!(budget.free(), TOTAL);
        prop_assert!(budget.shared.lock().of.is_empty());
    }
}
