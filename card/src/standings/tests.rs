use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;

/// A verifier that takes its time, and says what is so when it is asked.
#[derive(Default)]
struct SlowVerifier {
    revoked: AtomicBool,
    asked: AtomicUsize,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
}

impl SlowVerifier {
    async fn answer(&self, after: Duration) -> Answer {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let under_way = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_under_way.fetch_max(under_way, Ordering::Relaxed);
        let revoked = self.revoked.load(Ordering::Relaxed);
        sleep(after).await;
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        Ok(revoked)
    }
}

struct Card {
    standings: Arc<Standings>,
    verifier: Arc<SlowVerifier>,
}

impl Card {
    fn new() -> Self {
        Self {
            standings: Arc::new(Standings::new()),
            verifier: Arc::default(),
        }
    }

    fn ask(&self, operator: &'static str, after: Duration) -> JoinHandle<Answer> {
        let (standings, verifier) = (Arc::clone(&self.standings), Arc::clone(&self.verifier));
        tokio::spawn(async move { standings.ask(operator, verifier.answer(after)).await })
    }

    fn asked(&self) -> usize {
        self.verifier.asked.load(Ordering::Relaxed)
    }
}

/// Paused time passes while everybody waits for something: each has got as far as they get.
async fn pass(time: Duration) {
    sleep(time).await;
}

const MOMENT: Duration = Duration::from_millis(10);

#[tokio::test(start_paused = true)]
async fn who_comes_while_a_question_is_on_its_way_shares_the_next_one() {
    let card = Card::new();
    let first = card.ask("ann", Duration::from_secs(1));
    pass(MOMENT).await;
    let others: Vec<_> = (0..50)
        .map(|_| card.ask("ann", Duration::from_secs(1)))
        .collect();
    assert_eq!(first.await.unwrap(), Ok(false));
    for other in others {
        assert_eq!(other.await.unwrap(), Ok(false));
    }
    assert_eq!(card.asked(), 2);
}

/// A revocation that was known before a launch counts for it.
#[tokio::test(start_paused = true)]
async fn nobody_shares_a_question_that_was_sent_before_they_came() {
    for answered_after_s in [1, 15] {
        let card = Card::new();
        let time = Duration::from_secs(answered_after_s);
        let before = card.ask("ann", time);
        pass(MOMENT).await;
        card.verifier.revoked.store(true, Ordering::Relaxed);
        let after = [card.ask("ann", time), card.ask("ann", time)];
        assert_eq!(before.await.unwrap(), Ok(false));
        for one in after {
            assert_eq!(one.await.unwrap(), Ok(true));
        }
    }
}

/// Known attack: they had all turns.
#[tokio::test(start_paused = true)]
async fn guests_that_reboot_in_a_loop_keep_no_operator_from_launching() {
    let card = Card::new();
    let slowly = Duration::from_millis(19_500);
    let mut looping = Vec::new();
    for _ in 0..300 {
        looping.push(card.ask("ann", slowly));
        pass(Duration::from_millis(100)).await;
    }
    let launches = [card.ask("ann", slowly), card.ask("bob", slowly)];
    for launch in launches {
        assert_eq!(launch.await.unwrap(), Ok(false));
    }
    for one in looping {
        assert_eq!(one.await.unwrap(), Ok(false));
    }
    let most = card.verifier.most_under_way.load(Ordering::Relaxed);
    assert!(most <= 6, "{most}");
}

#[tokio::test(start_paused = true)]
async fn who_shared_the_question_of_somebody_who_went_away_is_refused_and_the_next_one_asks() {
    let card = Card::new();
    let taken = card.standings.taken().await;
    let first = card.ask("ann", Duration::from_secs(10));
    let second = card.ask("ann", Duration::from_secs(10));
    pass(MOMENT).await;
    drop(taken);
    pass(MOMENT).await;
    first.abort();
    let refused = second.await.unwrap();
    assert!(matches!(refused, Err(CardRefusal::Busy(_))), "{refused:?}");
    let next = card.ask("ann", Duration::from_secs(10));
    assert_eq!(next.await.unwrap(), Ok(false));
}

#[tokio::test(start_paused = true)]
async fn a_question_that_is_not_answered_is_absence_and_one_that_has_no_turn_is_not() {
    let card = Card::new();
    let unanswered = card.ask("ann", Duration::from_secs(60)).await.unwrap();
    assert!(matches!(unanswered, Err(CardRefusal::VerifierAway(_))));
    let _taken = card.standings.taken().await;
    let refused = card.ask("ann", MOMENT).await.unwrap();
    assert!(matches!(refused, Err(CardRefusal::Busy(_))));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_of_operators_of_whom_nobody_asks() {
    let card = Card::new();
    for operator in ["ann", "bob", "eve"] {
        card.ask(operator, MOMENT).await.unwrap().unwrap();
    }
    assert_eq!(card.standings.lines.lock().unwrap().len(), 1);
}
