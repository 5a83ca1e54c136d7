//! Several policies, in force together.

use bartizan_cose::cbor::encode;
use bartizan_policy::{
    Authors, MAX_POLICIES, MAX_SEEN, MAX_SET_BYTES, NoSet, PolicyRefusal, PolicySet, Seen,
    SetRefusal,
};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::key::TestKey;
use crate::{POLICY, authors, signed};

fn issue(name: &str, serial: u64, key: &TestKey) -> Vec<u8> {
    let text = POLICY.replace("team-a/web", name);
    signed(
        &text.replace("serial: 7", &format!("serial: {serial}")),
        key,
    )
}

fn refused(set: &PolicySet, authors: &Authors, seen: &Seen) -> SetRefusal {
    set.authenticate(authors, seen).unwrap_err()
}

#[test]
fn a_set_is_in_force_as_a_whole() {
    let key = TestKey::generate();
    let authors = authors(&key);
    let set = PolicySet::new([issue("team-a/web", 7, &key), issue("other", 1, &key)]);
    assert_eq!(PolicySet::from_bytes(&set.to_bytes()).unwrap(), set);
    let authentic = set.authenticate(&authors, &Seen::default()).unwrap();
    assert_eq!(authentic.digest(), &set.digest());
    let names: Vec<_> = authentic.policies().iter().map(|one| &one.name).collect();
    assert_eq!(names, ["team-a/web", "other"]);
    assert_eq!(authentic.origins()[0].author, "team");
    // Again, and with nothing in it, for which the former serials stay known.
    let again = set.authenticate(&authors, authentic.seen()).unwrap();
    assert_eq!(again.seen(), authentic.seen());
    let none = PolicySet::default().authenticate(&authors, again.seen());
    assert_eq!(none.unwrap().seen(), authentic.seen());
    let kept: Seen = minicbor::decode(&encode(again.seen())).unwrap();
    assert_eq!(&kept, again.seen());

    let stranger = PolicySet::new([
        issue("other", 1, &key),
        issue("other", 1, &TestKey::generate()),
    ]);
    assert!(matches!(
        refused(&stranger, &authors, &Seen::default()),
        SetRefusal::Policy {
            place: 1,
            source: PolicyRefusal::UnknownAuthor(_)
        }
    ));
    let twice = PolicySet::new([issue("other", 1, &key), issue("other", 2, &key)]);
    assert!(matches!(
        refused(&twice, &authors, &Seen::default()),
        SetRefusal::NameTwice(name) if name == "other"
    ));
}

#[test]
fn no_older_issue_comes_back() {
    let key = TestKey::generate();
    let authors = authors(&key);
    let of = |serial| PolicySet::new([issue("other", serial, &key)]);
    let first = of(7).authenticate(&authors, &Seen::default()).unwrap();
    // Another signature of the same text is no other issue.
    of(7).authenticate(&authors, first.seen()).unwrap();
    let second = of(9).authenticate(&authors, first.seen()).unwrap();
    let away = PolicySet::default().authenticate(&authors, second.seen());
    assert!(matches!(
        refused(&of(8), &authors, away.unwrap().seen()),
        SetRefusal::Older {
            serial: 8,
            seen: 9,
            ..
        }
    ));
    let text = POLICY
        .replace("team-a/web", "other")
        .replace("serial: 7", "serial: 9");
    let other = PolicySet::new([signed(&text.replace("[443]", "[444]"), &key)]);
    assert!(matches!(
        refused(&other, &authors, second.seen()),
        SetRefusal::SerialTwice { serial: 9, .. }
    ));
    of(u64::MAX).authenticate(&authors, second.seen()).unwrap();
}

#[test]
fn a_set_has_an_end() {
    let key = TestKey::generate();
    let many = vec![Vec::new(); usize::try_from(MAX_POLICIES).unwrap() + 1];
    let many = PolicySet::new(many);
    assert!(matches!(
        PolicySet::from_bytes(&many.to_bytes()),
        Err(NoSet::Malformed(_))
    ));
    assert!(matches!(
        refused(&many, &authors(&key), &Seen::default()),
        SetRefusal::TooLarge { policies: 257, .. }
    ));
    let large = PolicySet::new([vec![0; MAX_SET_BYTES]]);
    assert!(matches!(
        PolicySet::from_bytes(&large.to_bytes()),
        Err(NoSet::TooLong(_))
    ));
    assert!(matches!(
        refused(&large, &authors(&key), &Seen::default()),
        SetRefusal::TooLarge { policies: 1, .. }
    ));
}

#[test]
fn names_are_not_remembered_without_end() {
    let key = TestKey::generate();
    let authors = authors(&key);
    let issues = (0..MAX_SEEN).map(|number| (format!("policy-{number}"), 1_u64));
    let mut bytes = Vec::new();
    let mut encoder = minicbor::Encoder::new(&mut bytes);
    encoder
        .map(1)
        .unwrap()
        .u8(0)
        .unwrap()
        .map(MAX_SEEN as u64)
        .unwrap();
    for (name, serial) in issues {
        encoder.str(&name).unwrap().map(2).unwrap();
        encoder.u8(0).unwrap().u64(serial).unwrap();
        encoder.u8(1).unwrap().bytes(&[0; 48]).unwrap();
    }
    let full: Seen = minicbor::decode(&bytes).unwrap();
    assert_eq!(full.iter().count(), MAX_SEEN);
    let set = PolicySet::new([issue("other", 1, &key)]);
    assert!(matches!(
        refused(&set, &authors, &full),
        SetRefusal::TooManyNames
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_change_is_refused(at: Index, flip in 1..=u8::MAX, cut: bool) {
        let key = TestKey::generate();
        let set = PolicySet::new([issue("team-a/web", 7, &key), issue("other", 1, &key)]);
        let mut bytes = set.to_bytes();
        let at = at.index(bytes.len());
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] ^= flip;
        }
        let read = PolicySet::from_bytes(&bytes);
        let accepted = read.is_ok_and(|set| set.authenticate(&authors(&key), &Seen::default()).is_ok());
        prop_assert!(!accepted);
    }
}
