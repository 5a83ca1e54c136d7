use proptest::prelude::*;

use super::*;
use crate::certificates::Subject;
use crate::certificates::tests::fleet::{
    Fleet, NOT_AFTER, NOT_BEFORE, NOW, issue_card, key, params,
};
use crate::csr::EphemeralKey;

fn by_present(fleet: &Fleet, next: &EphemeralKey) -> Vec<u8> {
    let chain = fleet.chain(Usage::Card);
    let successor = Successor::new(next.csr().unwrap());
    successor.sign(&chain, fleet.card.key()).unwrap()
}

#[test]
fn the_present_key_names_the_next_one() {
    let (fleet, next) = (Fleet::new(), key());
    let signed = by_present(&fleet, &next);
    for at in [NOT_BEFORE, NOW, NOT_AFTER] {
        let verified = verify(&signed, &fleet.anchor(), at).unwrap();
        assert_eq!(verified.card, fleet.card_id);
        assert_eq!(verified.next, next.public_key());
        assert_eq!(
            verified.present.public_key,
            fleet.card.key().public_key(),
            "who signed"
        );
        assert!(!verified.is_renewal());
    }
    let same = by_present(&fleet, fleet.card.key());
    let same = verify(&same, &fleet.anchor(), NOW).unwrap();
    assert!(same.is_renewal());
}

/// The second key of a card is not what its id is the hash of.
#[test]
fn a_successor_names_a_successor_of_the_same_card() {
    let (fleet, next) = (Fleet::new(), key());
    let (second, second_id) = issue_card(&fleet.ca, |card| {
        card.subject_alt_names =
            params(Usage::Card, &Subject::Host(fleet.card_id)).subject_alt_names;
    });
    assert_ne!(second_id, fleet.card_id);
    let successor = Successor::new(next.csr().unwrap());
    let signed = successor.sign(&[second.der().to_vec()], second.key());
    let verified = verify(&signed.unwrap(), &fleet.anchor(), NOW).unwrap();
    assert_eq!(
        (verified.card, verified.next),
        (fleet.card_id, next.public_key())
    );
    assert_eq!(verified.present.card_key, Some(second_id.0));
}

#[test]
fn what_the_present_key_did_not_sign_is_refused() {
    let (fleet, theirs, next) = (Fleet::new(), Fleet::new(), key());
    let (other, _) = issue_card(&fleet.ca, |_| ());
    let chain = fleet.chain(Usage::Card);
    let successor = Successor::new(next.csr().unwrap());
    let refused = |signed: &[u8]| verify(signed, &fleet.anchor(), NOW).unwrap_err();
    // The next key's own word, another card's, and that with the own certificate.
    for signer in [&next, other.key()] {
        let signed = successor.sign(&chain, signer).unwrap();
        assert!(matches!(
            refused(&signed),
            SuccessionError::Message(CoseError::BadSignature(_))
        ));
    }
    let without = successor.sign(&[], fleet.card.key()).unwrap();
    assert!(matches!(
        refused(&without),
        SuccessionError::Chain(ChainError::Length { .. })
    ));
    assert!(matches!(
        refused(&by_present(&theirs, &next)),
        SuccessionError::Chain(ChainError::ForeignCa)
    ));
    let signed = by_present(&fleet, &next);
    for (at, expected) in [
        (NOT_BEFORE - 1, ChainError::NotYetValid),
        (NOT_AFTER + 1, ChainError::Expired),
    ] {
        let refused = verify(&signed, &fleet.anchor(), at).unwrap_err();
        assert!(
            matches!(&refused, SuccessionError::Chain(error) if *error == expected),
            "{refused}"
        );
    }
    let mut altered = signed;
    *altered.last_mut().unwrap() ^= 1;
    assert!(matches!(refused(&altered), SuccessionError::Message(_)));
}

/// What a host's TLS client, measurers and guests have is certified by the card, and signs no successor.
#[test]
fn keys_of_other_usages_name_no_successor() {
    let (fleet, leaf) = (Fleet::new(), key());
    for usage in Usage::ALL
        .into_iter()
        .filter(|usage| !matches!(usage, Usage::Card | Usage::Token))
    {
        let chain = fleet.issue(usage, &leaf, |_| ());
        let successor = Successor::new(leaf.csr().unwrap());
        let signed = successor.sign(&chain, &leaf).unwrap();
        let refused = verify(&signed, &fleet.anchor(), NOW).unwrap_err();
        assert!(matches!(refused, SuccessionError::Chain(_)), "{usage:?}");
    }
}

#[test]
fn other_messages_by_the_key_are_refused() {
    let (fleet, next) = (Fleet::new(), key());
    let chain = fleet.chain(Usage::Card);
    let payload = Successor::new(next.csr().unwrap()).encode();
    let counter = sign1(
        MessageType::VaultCounter,
        &payload,
        &chain,
        fleet.card.key(),
    );
    assert!(matches!(
        verify(&counter.unwrap(), &fleet.anchor(), NOW),
        Err(SuccessionError::Message(CoseError::WrongType { .. }))
    ));
    let of = |payload: &[u8]| {
        let signed = sign1(MessageType::Succession, payload, &chain, fleet.card.key());
        verify(&signed.unwrap(), &fleet.anchor(), NOW).unwrap_err()
    };
    let newer = Successor {
        version: 2,
        csr: next.csr().unwrap(),
    };
    assert!(matches!(of(&newer.encode()), SuccessionError::Version(2)));
    assert!(matches!(of(b""), SuccessionError::Malformed(_)));
    let large = vec![0; Successor::MAX_LEN + 1];
    assert!(matches!(of(&large), SuccessionError::Malformed(_)));
}

#[test]
fn the_next_key_proves_its_possession() {
    let (fleet, next) = (Fleet::new(), key());
    let chain = fleet.chain(Usage::Card);
    let mut unproven = next.csr().unwrap();
    *unproven.last_mut().unwrap() ^= 1;
    for csr in [unproven, Vec::new(), vec![0; csr::MAX_CSR]] {
        let signed = Successor::new(csr).sign(&chain, fleet.card.key());
        let refused = verify(&signed.unwrap(), &fleet.anchor(), NOW).unwrap_err();
        assert!(matches!(refused, SuccessionError::Csr(_)), "{refused}");
    }
}

proptest! {
    #[test]
    fn payloads_survive_their_encoding(csr in prop::collection::vec(any::<u8>(), 0..csr::MAX_CSR)) {
        let successor = Successor::new(csr);
        let bytes = successor.encode();
        prop_assert!(bytes.len() <= Successor::MAX_LEN);
        prop_assert_eq!(Successor::decode(&bytes).unwrap(), successor);
    }

    #[test]
    fn any_bytes_are_read_in_one_way(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(successor) = Successor::decode(&bytes) {
            prop_assert_eq!(successor.encode(), bytes);
        }
    }
}
