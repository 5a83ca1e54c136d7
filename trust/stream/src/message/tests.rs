use proptest::prelude::*;

use super::*;
use crate::limits::{MAX_DETAIL, MAX_DOWN, MAX_EVIDENCE, MAX_GUESTS, MAX_POLICIES, MAX_SET};
use crate::wire;

fn number() -> impl Strategy<Value = NonZeroU64> {
    prop_oneof![1..10_u64, any::<u64>()].prop_filter_map("0", NonZeroU64::new)
}

fn guest() -> impl Strategy<Value = Guest> {
    (any::<[u8; 16]>(), any::<u64>()).prop_map(|(vm, boot)| Guest { vm, boot })
}

fn set() -> impl Strategy<Value = HeldSet> {
    (number(), any::<[u8; 48]>()).prop_map(|(number, digest)| HeldSet { number, digest })
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 1..64).prop_map(Bytes::from)
}

fn detail() -> impl Strategy<Value = Detail> {
    any::<String>().prop_map(|text| Detail::cut(&text))
}

fn hello() -> impl Strategy<Value = Hello> {
    let span = (number(), number()).prop_map(|(a, b)| Span::new(a.min(b), a.max(b)).unwrap());
    (
        any::<[u8; 16]>(),
        span,
        prop::option::of(set()),
        any::<u64>(),
    )
        .prop_map(|(source, span, in_force, last)| Hello {
            source: Source(source),
            span,
            in_force,
            last_command: last,
        })
}

fn up() -> impl Strategy<Value = Up> {
    let guests =
        (guest(), any::<[u8; 48]>()).prop_map(|(guest, digest)| GuestPolicy { guest, digest });
    let guests = prop::collection::vec(guests, 0..5).prop_map(|of| GuestPolicies::new(of).unwrap());
    let reason = prop_oneof![
        Just(RefusalReason::Rollback),
        Just(RefusalReason::Author),
        Just(RefusalReason::Malformed),
        Just(RefusalReason::Failed)
    ];
    let outcome = prop_oneof![
        Just(CommandOutcome::Done),
        Just(CommandOutcome::NoGuest),
        Just(CommandOutcome::Failed)
    ];
    prop_oneof![
        (number(), bytes())
            .prop_map(|(number, signed)| Up::Evidence(Evidence::new(number, signed).unwrap())),
        (set(), guests).prop_map(|(set, guests)| Up::PolicyInForce { set, guests }),
        (number(), reason, detail()).prop_map(|(number, reason, detail)| Up::PolicyRefused {
            number,
            reason,
            detail
        }),
        (number(), outcome, detail()).prop_map(|(number, outcome, detail)| Up::CommandDone {
            number,
            outcome,
            detail
        }),
    ]
}

fn any_up() -> impl Strategy<Value = Said> {
    prop_oneof![hello().prop_map(Said::Hello), up().prop_map(Said::Up)]
}

fn down() -> impl Strategy<Value = Down> {
    let trust = prop_oneof![
        Just(Trust::None),
        Just(Trust::Affirming),
        Just(Trust::Contraindicated)
    ];
    let kind = prop_oneof![Just(CommandKind::Isolate), Just(CommandKind::Release)];
    prop_oneof![
        any::<u64>().prop_map(Down::EvidenceKept),
        (number(), prop::collection::vec(bytes(), 0..5))
            .prop_map(|(number, signed)| Down::PolicySet(PolicySet::new(number, signed).unwrap())),
        (guest(), trust).prop_map(|(guest, trust)| Down::Appraisal { guest, trust }),
        (number(), kind, guest()).prop_map(|(number, kind, guest)| Down::Command {
            number,
            kind,
            guest
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(up in any_up(), down in down()) {
        let written = Bytes::from(up.to_wire().encode_to_vec());
        prop_assert_eq!(Said::decode(&written), Ok(up));
        let written = Bytes::from(down.to_wire().encode_to_vec());
        prop_assert_eq!(Down::decode(&written), Ok(down));
    }

    #[test]
    fn there_is_one_encoding_of_each_message(up in any_up(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut written = up.to_wire().encode_to_vec();
        let at = at.index(written.len());
        written[at] = to;
        let written = Bytes::from(written);
        if let Ok(read) = Said::decode(&written) {
            prop_assert_eq!(read.to_wire().encode_to_vec(), written);
        }
    }

    #[test]
    fn arbitrary_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let _ = Said::decode(&bytes);
        let _ = Down::decode(&bytes);
    }
}

fn kept(up_to: u64) -> Vec<u8> {
    Down::EvidenceKept(up_to).to_wire().encode_to_vec()
}

fn refused(message: Vec<u8>) -> MessageError {
    Down::decode(&message.into()).unwrap_err()
}

#[test]
fn what_is_not_understood_is_refused() {
    // A second message after the first, an unknown kind, an unknown field within, the default written out, none at all.
    let twice = [kept(1), kept(2)].concat();
    assert_eq!(refused(twice), MessageError::Encoding);
    assert_eq!(refused(vec![0x7a, 0]), MessageError::Encoding);
    assert_eq!(refused(vec![0x0a, 2, 0x10, 1]), MessageError::Encoding);
    assert_eq!(refused(vec![0x0a, 2, 0x08, 0]), MessageError::Encoding);
    assert!(matches!(refused(vec![]), MessageError::Protobuf(_)));
    assert_eq!(refused(vec![0x08, 1]), MessageError::Kind);
    // And what was cut.
    assert_eq!(refused(vec![0x0a, 5, 0x08, 1]), MessageError::Encoding);
}

#[test]
fn a_list_of_nothing_is_counted_before_anything_is_made_of_it() {
    let of = |count: usize| {
        let set = wire::PolicySet {
            number: 1,
            signed: vec![Bytes::new(); count],
        };
        let message = Some(wire::DownMessage::PolicySet(set));
        refused(wire::Down { message }.encode_to_vec())
    };
    let limit = MAX_POLICIES + 1;
    assert_eq!(of(MAX_POLICIES + 1), MessageError::Fields { limit });
    assert_eq!(of(1_000_000), MessageError::Fields { limit });
    // So many are counted, and refused for what they are.
    assert!(matches!(of(MAX_POLICIES), MessageError::Field { .. }));
}

#[test]
fn bounds_hold_where_messages_are_made() {
    let one = NonZeroU64::MIN;
    let evidence = |size| Evidence::new(one, Bytes::from(vec![1; size]));
    assert!(evidence(MAX_EVIDENCE).is_ok());
    assert!(evidence(MAX_EVIDENCE + 1).is_err() && evidence(0).is_err());
    let set = |count, size| PolicySet::new(one, vec![Bytes::from(vec![1; size]); count]);
    assert!(set(0, 0).is_ok() && set(MAX_POLICIES, 1).is_ok() && set(1, MAX_SET).is_ok());
    assert!(set(MAX_POLICIES + 1, 1).is_err() && set(2, MAX_SET / 2 + 1).is_err());
    assert!(set(1, 0).is_err());
    let largest = Down::PolicySet(set(MAX_POLICIES, MAX_SET / MAX_POLICIES).unwrap());
    assert!(largest.to_wire().encoded_len() <= MAX_DOWN);
    let policy = GuestPolicy {
        guest: Guest {
            vm: [255; 16],
            boot: u64::MAX,
        },
        digest: [255; 48],
    };
    assert!(GuestPolicies::new(vec![policy; MAX_GUESTS + 1]).is_err());
    let largest = Said::Up(Up::PolicyInForce {
        set: HeldSet {
            number: NonZeroU64::MAX,
            digest: [255; 48],
        },
        guests: GuestPolicies::new(vec![policy; MAX_GUESTS]).unwrap(),
    });
    let written = Bytes::from(largest.to_wire().encode_to_vec());
    assert_eq!(Said::decode(&written), Ok(largest));
}

#[test]
fn a_text_for_people_is_cut_and_printable() {
    let cut = Detail::cut(&"ü\n".repeat(MAX_DETAIL));
    assert!(cut.as_str().len() <= MAX_DETAIL && cut.as_str().starts_with("ü ü"));
    assert!(Detail::new("a\u{1b}[2J".into()).is_err());
    assert!(Detail::new("a".repeat(MAX_DETAIL + 1)).is_err());
}

#[test]
fn a_span_that_ends_before_it_begins_is_none() {
    let hello = wire::Hello {
        source: Bytes::from(vec![1; 16]),
        oldest: 3,
        next: 2,
        in_force: None,
        last_command: 0,
    };
    let message = Some(wire::UpMessage::Hello(hello));
    let written = Bytes::from(wire::Up { message }.encode_to_vec());
    assert!(matches!(
        Said::decode(&written),
        Err(MessageError::Field {
            field: "hello.oldest",
            ..
        })
    ));
}
