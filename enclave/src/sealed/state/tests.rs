use bartizan_attestation::csr::EphemeralKey;
use bartizan_policy::{Author, AuthorKey, Authors, Format, sign_policy};
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// What was seen of policies of these names.
fn seen(names: &[String]) -> Seen {
    let key = EphemeralKey::generate().unwrap();
    let scope = json!({ "policies": ["*"], "kinds": ["network"], "highest_priority": 0 });
    let author = Author {
        name: "ann".into(),
        key: AuthorKey::new(key.public_key()).unwrap(),
        scope: serde_json::from_value(scope).unwrap(),
    };
    let authors = Authors::new(vec![author]).unwrap();
    let signed = names.iter().enumerate().map(|(serial, name)| {
        let rules = json!([{ "name": "all", "effect": "allow", "network": {} }]);
        let text = json!({ "version": 1, "name": name, "serial": serial + 1, "rules": rules });
        sign_policy(&text.to_string(), Format::Json, &key.public_key(), &key).unwrap()
    });
    let set = bartizan_policy::PolicySet::new(signed);
    let authentic = set.authenticate(&authors, &Seen::default()).unwrap();
    authentic.seen().clone()
}

fn number() -> impl Strategy<Value = NonZeroU64> {
    any::<u64>().prop_filter_map("0", NonZeroU64::new)
}

fn set() -> impl Strategy<Value = PolicySet> {
    let policy = prop::collection::vec(any::<u8>(), 1..64).prop_map(Bytes::from);
    let policies = prop::collection::vec(policy, 0..4);
    (number(), policies).prop_map(|(number, signed)| PolicySet::new(number, signed).unwrap())
}

fn command() -> impl Strategy<Value = Command> {
    let outcome = prop_oneof![
        Just(CommandOutcome::Done),
        Just(CommandOutcome::NoGuest),
        Just(CommandOutcome::Failed)
    ];
    (number(), outcome).prop_map(|(number, outcome)| Command { number, outcome })
}

/// How many pieces are at the verifier, and those that wait.
fn evidence() -> impl Strategy<Value = (u64, Vec<Vec<u8>>)> {
    let piece = prop::collection::vec(any::<u8>(), 1..64);
    let before = prop_oneof![Just(0), 1..u64::MAX / 2];
    (before, prop::collection::vec(piece, 0..4))
}

prop_compose! {
    pub(crate) fn state()(
        source in any::<[u8; 16]>(),
        (before, pieces) in evidence(),
        set in prop::option::of(set()),
        names in prop::collection::btree_set("[a-z]{1,8}", 0..2),
        command in prop::option::of(command()),
        isolated in prop::collection::btree_set(any::<[u8; 16]>(), 0..4),
    ) -> State {
        let seen = seen(&names.into_iter().collect::<Vec<_>>());
        let next = NonZeroU64::new(before + pieces.len() as u64 + 1).unwrap();
        let waiting: Vec<_> = pieces.into_iter().map(Bytes::from).collect();
        let last = waiting.last().map(|last| Sha384::of(last));
        let previous = last.or_else(|| (before > 0).then(|| Sha384::of(b"it was sent")));
        State { source: Source(source), next, previous, waiting, set, seen, command, isolated }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(state in state()) {
        let written = state.encode();
        prop_assert_eq!(State::decode(&written).unwrap(), state);
    }

    #[test]
    fn there_is_no_other_encoding(state in state(), at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let mut written = state.encode();
        *at.get_mut(&mut written) ^= 1 << bit;
        if let Ok(other) = State::decode(&written) {
            prop_assert_eq!(other.encode(), written);
        }
        let mut longer = state.encode();
        longer.push(0);
        State::decode(&longer).unwrap_err();
        let shorter = state.encode();
        State::decode(&shorter[..shorter.len() - 1]).unwrap_err();
    }

    #[test]
    fn whatever_comes_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        if let Ok(state) = State::decode(&bytes) {
            prop_assert_eq!(state.encode(), bytes);
        }
    }
}

/// As they are written, and not as they may be.
fn written() -> Written {
    Written {
        version: VERSION,
        source: [1; 16],
        next: NonZeroU64::MIN,
        set: None,
        seen: Seen::default(),
        command: None,
        isolated: vec![[1; 16].into(), [2; 16].into()],
        evidence: None,
    }
}

#[test]
fn evidence_leads_up_to_the_next_number() {
    let (one, last) = (vec![1; 8], vec![2; 8]);
    let written = |next, previous: &[u8], waiting: &[&Vec<u8>]| Written {
        next: NonZeroU64::new(next).unwrap(),
        evidence: Some(WrittenEvidence {
            previous: Sha384::of(previous),
            waiting: waiting.iter().map(|of| (*of).clone().into()).collect(),
        }),
        ..written()
    };
    let read = |written: Written| State::decode(&cbor::encode(&written));
    let right = read(written(3, &last, &[&one, &last])).unwrap();
    assert_eq!(right.waiting.len(), 2);
    assert!(read(written(9, &last, &[])).is_ok(), "all of it is there");
    for wrong in [
        written(2, &last, &[&one, &last]),
        written(1, &last, &[]),
        written(3, &one, &[&one, &last]),
        written(3, &[], &[&one, &vec![]]),
        written(
            2,
            &vec![0; EVIDENCE_LIMITS.bytes + 1],
            &[&vec![0; EVIDENCE_LIMITS.bytes + 1]],
        ),
    ] {
        assert!(matches!(read(wrong), Err(NoState::Evidence)));
    }
    let many = written(99, &one, &vec![&one; EVIDENCE_LIMITS.pieces + 1]);
    assert!(matches!(read(many), Err(NoState::Cbor(_))));
}

/// An enclave before this one made no evidence, and its state is read.
#[test]
fn the_state_of_before_is_read() {
    let former = cbor::encode(&written());
    let state = State::decode(&former).unwrap();
    assert_eq!((state.previous, state.waiting.len()), (None, 0));
    assert_eq!(state.encode(), former);
}

#[test]
fn what_cannot_be_is_refused() {
    let read = |written: &Written| State::decode(&cbor::encode(written));
    assert_eq!(read(&written()).unwrap().isolated.len(), 2);
    let later = Written {
        version: 2,
        ..written()
    };
    assert!(matches!(read(&later), Err(NoState::Version(2))));
    for isolated in [[[2; 16], [1; 16]], [[1; 16], [1; 16]]] {
        let isolated = isolated.map(Into::into).to_vec();
        let unordered = Written {
            isolated,
            ..written()
        };
        assert!(matches!(read(&unordered), Err(NoState::Order)));
    }
    let set = |policies: Vec<ByteVec>| Written {
        set: Some(WrittenSet {
            number: NonZeroU64::MIN,
            policies,
        }),
        ..written()
    };
    assert!(matches!(
        read(&set(vec![Vec::<u8>::new().into()])),
        Err(NoState::Set(_))
    ));
    let many = vec![vec![1_u8].into(); MAX_POLICIES + 1];
    assert!(matches!(read(&set(many)), Err(NoState::Cbor(_))));
    let vms = (0..=MAX_ISOLATED as u128).map(|vm| vm.to_be_bytes().into());
    let crowded = Written {
        isolated: vms.collect(),
        ..written()
    };
    assert!(matches!(read(&crowded), Err(NoState::Cbor(_))));
}
