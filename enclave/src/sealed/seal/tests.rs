use bartizan_attestation::boot::Sha384;
use bartizan_policy::Seen;
use bartizan_stream::Bytes;
use bartizan_stream::limits::{MAX_POLICIES, MAX_SET};
use bartizan_stream::message::{PolicySet, Source};
use proptest::prelude::*;

use super::super::EVIDENCE_LIMITS;
use super::super::state::tests::state;
use super::*;

const CARD: CardId = CardId([3; 32]);

fn key() -> StateKey {
    StateKey::new([7; 32])
}

fn small() -> State {
    State::new(Source([1; 16]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_sealed_is_opened_by_the_same_alone(state in state(), number in any::<u64>(), other in any::<u64>()) {
        let sealed = seal(&key(), CARD, number, &state).unwrap();
        prop_assert_eq!(open(&key(), CARD, number, &sealed).unwrap(), state);
        if other != number {
            open(&key(), CARD, other, &sealed).unwrap_err();
        }
        open(&key(), CardId([4; 32]), number, &sealed).unwrap_err();
        open(&StateKey::new([8; 32]), CARD, number, &sealed).unwrap_err();
    }

    #[test]
    fn whatever_comes_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
        open(&key(), CARD, 1, &bytes).unwrap_err();
    }
}

#[test]
fn every_bit_counts() {
    let sealed = seal(&key(), CARD, 5, &small()).unwrap();
    for at in 0..sealed.len() {
        for bit in 0..8 {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1 << bit;
            let refused = open(&key(), CARD, 5, &flipped).unwrap_err();
            assert!(!matches!(refused, OpenError::State(_)), "{at}, {bit}");
        }
        open(&key(), CARD, 5, &sealed[..at]).unwrap_err();
    }
}

#[test]
fn the_same_is_never_sealed_to_the_same_bytes() {
    let one = seal(&key(), CARD, 5, &small()).unwrap();
    let other = seal(&key(), CARD, 5, &small()).unwrap();
    assert_ne!(one, other);
    assert_ne!(one[1..HEAD], other[1..HEAD], "a nonce of its own");
}

/// The largest set that the stream brings is kept, with all policies that are ever seen.
#[test]
fn the_largest_state_fits() {
    let each = MAX_SET / MAX_POLICIES;
    let policies = vec![Bytes::from(vec![7; each]); MAX_POLICIES];
    // In its encoding: a name of 128 bytes, a serial number, a digest.
    let seen: usize = bartizan_policy::MAX_SEEN * (128 + 3 + 80);
    let waiting = vec![
        Bytes::from(vec![9; EVIDENCE_LIMITS.bytes / EVIDENCE_LIMITS.pieces]);
        EVIDENCE_LIMITS.pieces
    ];
    let state = State {
        next: u64::MAX.try_into().unwrap(),
        previous: waiting.last().map(|last| Sha384::of(last)),
        waiting,
        set: Some(PolicySet::new(u64::MAX.try_into().unwrap(), policies).unwrap()),
        seen: Seen::default(),
        isolated: (0..super::super::MAX_ISOLATED as u128)
            .map(u128::to_be_bytes)
            .collect(),
        ..small()
    };
    let sealed = seal(&key(), CARD, 1, &state).unwrap();
    assert!(
        sealed.len() + seen < StateRecord::MAX_SEALED,
        "{}",
        sealed.len()
    );
}
