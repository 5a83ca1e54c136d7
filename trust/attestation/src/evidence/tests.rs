use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::certificates::tests::fleet::{Fleet, NOT_AFTER, NOW, key};
use crate::csr::EphemeralKey;

/// An enclave with a certified key.
struct Enclave {
    fleet: Fleet,
    key: EphemeralKey,
    chain: Chain,
}

impl Enclave {
    fn new() -> Self {
        let (fleet, key) = (Fleet::new(), key());
        let chain = fleet.issue(Usage::Evidence, &key, |_| ());
        let chain = chain.into_iter().map(Into::into).collect();
        Self { fleet, key, chain }
    }

    fn evidence(&self, issued_at: u64) -> Evidence {
        Evidence {
            issued_at,
            card: self.fleet.card_id,
            statement: statement(),
        }
    }

    fn expected(&self) -> Expected {
        Expected {
            card: self.fleet.card_id,
            source: SOURCE,
            sequence: SEQUENCE,
            previous: Some(PREVIOUS),
        }
    }

    fn sign(&self, evidence: &Evidence) -> Vec<u8> {
        evidence.sign(&self.chain, &self.key).unwrap()
    }

    fn verify(
        &self,
        signed: &[u8],
        expected: Expected,
    ) -> Result<(Evidence, VerifiedCertificate), EvidenceError> {
        Evidence::verify(signed, &expected, &self.fleet.anchor(), NOW)
    }
}

const SOURCE: [u8; 16] = [9; 16];
const SEQUENCE: NonZeroU64 = NonZeroU64::new(7).unwrap();
const PREVIOUS: Sha384 = Sha384([1; 48]);

fn statement() -> Statement {
    Statement {
        source: SOURCE,
        sequence: SEQUENCE,
        previous: Some(PREVIOUS),
        events: vec![Event {
            at: NOW,
            what: What::Started { set: None },
        }],
        dropped: 0,
    }
}

#[test]
fn an_enclaves_own_is_taken_long_after_its_certificate_has_ended_too() {
    let enclave = Enclave::new();
    for issued_at in [NOW, NOW - 86_400 * 30] {
        let evidence = enclave.evidence(issued_at);
        let signed = enclave.sign(&evidence);
        let (verified, key) = enclave.verify(&signed, enclave.expected()).unwrap();
        assert_eq!(verified, evidence);
        assert_eq!(key.card, Some(enclave.fleet.card_id));
    }
    let late = Evidence::verify(
        &enclave.sign(&enclave.evidence(NOW)),
        &enclave.expected(),
        &enclave.fleet.anchor(),
        NOT_AFTER + 86_400,
    );
    assert!(late.is_ok(), "{late:?}");
}

#[test]
fn it_is_an_eat_with_its_claims_in_order() {
    let enclave = Enclave::new();
    let payload = cbor::encode(&enclave.evidence(NOW));
    let mut read = Decoder::new(&payload);
    assert_eq!(read.map().unwrap(), Some(4));
    assert_eq!((read.u8().unwrap(), read.u64().unwrap()), (6, NOW));
    assert_eq!(read.u16().unwrap(), 256);
    let ueid = [&[1], &enclave.fleet.card_id.0[..]].concat();
    assert_eq!(read.bytes().unwrap(), ueid);
    assert_eq!(read.u16().unwrap(), 265);
    assert_eq!(read.str().unwrap(), PROFILE);
    assert_eq!(read.i64().unwrap(), STATEMENT);
}

#[test]
fn others_are_refused() {
    let (enclave, other) = (Enclave::new(), Enclave::new());
    let (evidence, expected) = (enclave.evidence(NOW), enclave.expected());
    let refused = |signed: &[u8]| enclave.verify(signed, expected).unwrap_err();
    // Of another fleet, by another key, by a key of another usage.
    let foreign = evidence.sign(&other.chain, &other.key).unwrap();
    assert!(matches!(refused(&foreign), EvidenceError::Chain(_)));
    let unsigned = evidence.sign(&enclave.chain, &other.key).unwrap();
    assert!(matches!(refused(&unsigned), EvidenceError::Message(_)));
    let tls = enclave.fleet.issue(Usage::EnclaveTls, &other.key, |_| ());
    let tls: Chain = tls.into_iter().map(Into::into).collect();
    let by_tls = evidence.sign(&tls, &other.key).unwrap();
    assert!(matches!(refused(&by_tls), EvidenceError::Chain(_)));
    // Of another card: what it says, and where it is shown.
    let mut of_other = evidence.clone();
    of_other.card = other.fleet.card_id;
    let of_other = enclave.sign(&of_other);
    assert!(matches!(
        refused(&of_other),
        EvidenceError::OtherCard { .. }
    ));
    let elsewhere = Expected {
        card: other.fleet.card_id,
        ..expected
    };
    let shown = enclave.verify(&enclave.sign(&evidence), elsewhere);
    assert!(matches!(shown, Err(EvidenceError::OtherCard { .. })));
    // Of the future, and altered.
    let ahead = enclave.sign(&enclave.evidence(NOW + MAX_AHEAD_S + 1));
    assert!(matches!(refused(&ahead), EvidenceError::Future(3601)));
    let mut altered = enclave.sign(&evidence);
    let last = altered.len() - 1;
    altered[last] ^= 1;
    assert!(matches!(refused(&altered), EvidenceError::Message(_)));
    // Another message of the same key, with the same payload.
    let chain: Vec<Vec<u8>> = enclave.chain.iter().map(|one| one.to_vec()).collect();
    let payload = cbor::encode(&evidence);
    let report = sign1(MessageType::Report, &payload, &chain, &enclave.key).unwrap();
    assert!(matches!(refused(&report), EvidenceError::Message(_)));
}

/// Known attack: a piece that was taken out, or put in another's place.
#[test]
fn a_piece_has_its_place() {
    let enclave = Enclave::new();
    let (signed, expected) = (enclave.sign(&enclave.evidence(NOW)), enclave.expected());
    let refused = |expected| enclave.verify(&signed, expected).unwrap_err();
    let source = [8; 16];
    let sequence = SEQUENCE.checked_add(1).unwrap();
    for elsewhere in [
        Expected { source, ..expected },
        Expected {
            sequence,
            ..expected
        },
    ] {
        assert!(matches!(refused(elsewhere), EvidenceError::OtherPlace));
    }
    let previous = Some(Sha384([2; 48]));
    let broken = refused(Expected {
        previous,
        ..expected
    });
    assert!(matches!(broken, EvidenceError::Broken));
    // The first has none before it, and no other has none.
    let mut alone = enclave.evidence(NOW);
    alone.statement.previous = None;
    let unknown = Expected {
        previous: None,
        ..expected
    };
    let broken = enclave.verify(&enclave.sign(&alone), unknown);
    assert!(matches!(broken, Err(EvidenceError::Broken)));
    alone.statement.sequence = NonZeroU64::MIN;
    let first = Expected {
        sequence: NonZeroU64::MIN,
        ..unknown
    };
    assert!(enclave.verify(&enclave.sign(&alone), first).is_ok());
    // Whoever does not know the one before takes its number's word.
    assert!(enclave.verify(&signed, unknown).is_ok());
}

#[test]
fn more_than_there_may_be_is_refused() {
    let enclave = Enclave::new();
    let mut many = enclave.evidence(NOW);
    many.statement.events = vec![many.statement.events[0].clone(); MAX_EVENTS + 1];
    let mut long = enclave.evidence(NOW);
    long.statement.events[0].what = What::SetRefused {
        set: SEQUENCE,
        why: "x".repeat(MAX_WHY + 1),
    };
    let mut lines = enclave.evidence(NOW);
    lines.statement.events[0].what = What::SetRefused {
        set: SEQUENCE,
        why: "older\n#7 all is well".into(),
    };
    for too_much in [many, long, lines] {
        let refused = Evidence::decode(&cbor::encode(&too_much));
        assert!(matches!(refused, Err(EvidenceError::Malformed(_))));
    }
    let large = Evidence::decode(&vec![0; MAX_PAYLOAD + 1]);
    assert!(matches!(large, Err(EvidenceError::TooLarge(_))));
}

/// The largest that an enclave makes fits, with the largest chain that a card issues.
#[test]
fn the_largest_fits() {
    let enclave = Enclave::new();
    let mut largest = enclave.evidence(u64::MAX);
    largest.statement.dropped = u64::MAX;
    let event = Event {
        at: u64::MAX,
        what: What::Denied {
            guest: Guest {
                vm: [9; 16],
                boot: u64::MAX,
            },
            decisions: NonZeroU64::MAX,
            by: "x".repeat(MAX_WHY),
        },
    };
    largest.statement.events = vec![event; MAX_EVENTS];
    let payload = cbor::encode(&largest);
    assert!(payload.len() <= MAX_PAYLOAD, "{}", payload.len());
    assert_eq!(Evidence::decode(&payload).unwrap(), largest);
    let chain: Vec<Vec<u8>> = vec![vec![0; 8192]; 2];
    let message = sign1(MessageType::Evidence, &payload, &chain, &enclave.key);
    assert!(message.is_ok());
}

fn what() -> impl Strategy<Value = What> {
    let guest = (any::<[u8; 16]>(), any::<u64>()).prop_map(|(vm, boot)| Guest { vm, boot });
    let number = (1..=u64::MAX).prop_map(|number| NonZeroU64::new(number).unwrap());
    let taken_for = prop_oneof![
        Just(Taken::None),
        Just(Taken::Affirming),
        Just(Taken::Contraindicated)
    ];
    prop_oneof![
        proptest::option::of(number.clone()).prop_map(|set| What::Started { set }),
        (number.clone(), any::<[u8; 32]>()).prop_map(|(set, digest)| What::InForce {
            set,
            digest: Sha384::of(&digest),
        }),
        (number.clone(), "[a-zé ]{0,100}").prop_map(|(set, why)| What::SetRefused { set, why }),
        (any::<[u8; 16]>(), any::<bool>(), number.clone()).prop_map(|(vm, isolated, order)| {
            What::Isolation {
                vm,
                isolated,
                order,
            }
        }),
        (guest.clone(), taken_for).prop_map(|(guest, taken_for)| What::Trust { guest, taken_for }),
        (guest, number, "[a-z/]{0,100}").prop_map(|(guest, decisions, by)| What::Denied {
            guest,
            decisions,
            by
        }),
    ]
}

proptest! {
    #[test]
    fn each_has_one_encoding(
        (issued_at, card, source) in any::<(u64, [u8; 32], [u8; 16])>(),
        (sequence, dropped) in (1..=u64::MAX, any::<u64>()),
        previous in proptest::option::of(any::<[u8; 32]>()),
        events in vec((any::<u64>(), what()), 0..MAX_EVENTS),
    ) {
        let evidence = Evidence {
            issued_at,
            card: CardId(card),
            statement: Statement {
                source,
                sequence: NonZeroU64::new(sequence).unwrap(),
                previous: previous.map(|of| Sha384::of(&of)),
                events: events.into_iter().map(|(at, what)| Event { at, what }).collect(),
                dropped,
            },
        };
        let payload = cbor::encode(&evidence);
        prop_assert_eq!(Evidence::decode(&payload).unwrap(), evidence);
    }

    #[test]
    fn anything_else_is_refused_or_read_as_it_is(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(evidence) = Evidence::decode(&bytes) {
            prop_assert_eq!(cbor::encode(&evidence), bytes);
        }
    }
}
