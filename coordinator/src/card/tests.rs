use bartizan_boot::BundleRefusal;

use super::*;
use crate::stand_in::{Key, StandIn, Turn};

const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(20);

fn ask(turn: Turn, answer: Duration, handover: Duration) -> Result<Vec<u8>, CardError> {
    let card = StandIn::new(vec![turn]);
    let link = Card {
        socket: card.socket.clone(),
        answer,
        handover,
    };
    let key = Key::generate().public();
    let fetched = link.newest_bundle(&key);
    let release_key = key.sha256();
    let asked = card.asked.recv_timeout(LONG).unwrap();
    assert_eq!(asked, BundleRequest::Newest { release_key });
    fetched
}

#[test]
fn bytes_come_as_they_were_served() {
    for size in [0, 1, AHEAD - 1, AHEAD, 3 * AHEAD + 7] {
        let served: Vec<u8> = (0..size).map(|at| at.to_le_bytes()[0]).collect();
        let fetched = ask(Turn::serve(&served), LONG, LONG).unwrap();
        assert!(fetched == served, "{size}");
    }
}

#[test]
fn a_card_that_is_not_there_breaks_off_or_says_nothing_is_away() {
    let gone = Card::new("/nonexistent/card.sock".into());
    let gone = gone.newest_bundle(&Key::generate().public());
    let half = BundleReply::Follows { size: 100 };
    let garbage = [&4_u32.to_be_bytes()[..], b"what"].concat();
    for refused in [
        gone,
        ask(Turn::Answer(half, vec![7; 99]), LONG, LONG),
        ask(Turn::Say(garbage), LONG, LONG),
        ask(Turn::Say(u32::MAX.to_be_bytes().to_vec()), LONG, LONG),
        ask(Turn::Say(Vec::new()), LONG, LONG),
        ask(Turn::Wait, SHORT, LONG),
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, CardError::Away { .. }), "{error}");
        assert!(error.is_absence() && error.may_pass());
    }
}

#[test]
fn a_handover_has_an_end() {
    let whole = BundleReply::Follows { size: 100 };
    let begun = Instant::now();
    let refused = ask(Turn::Stall(whole, vec![7; 99]), LONG, SHORT);
    assert!(matches!(refused, Err(CardError::Away { .. })));
    assert!(begun.elapsed() < LONG);
}

#[test]
fn more_than_a_bundle_may_have_is_not_read() {
    let beyond = u32::try_from(Bundle::MAX_LEN + 1).unwrap();
    for size in [beyond, u32::MAX] {
        let turn = Turn::Answer(BundleReply::Follows { size }, Vec::new());
        let refused = ask(turn, LONG, LONG).unwrap_err();
        assert!(matches!(refused, CardError::TooLarge { size: said } if said == size));
        assert!(!refused.is_absence() && !refused.may_pass());
    }
}

#[test]
fn what_the_card_says_is_handed_on() {
    for (refusal, absence) in [
        (BundleRefusal::NotEnrolled, true),
        (BundleRefusal::NotPublished, true),
        (BundleRefusal::VerifierAway("no route".into()), true),
        (BundleRefusal::TooSlow { seconds: 180 }, true),
        (BundleRefusal::TooLarge, false),
        (BundleRefusal::VerifierUnclear("no HTTP".into()), false),
    ] {
        let turn = Turn::Answer(BundleReply::Refused(refusal.clone()), Vec::new());
        let error = ask(turn, LONG, LONG).unwrap_err();
        assert_eq!(error.is_absence(), absence, "{error}");
        assert!(matches!(error, CardError::Refused(said) if said == refusal));
    }
}
