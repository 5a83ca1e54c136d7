use std::num::NonZeroU64;

use bartizan_attestation::csr::EphemeralKey;
use bartizan_policy::{Author, AuthorKey, Format, sign_policy};
use bartizan_stream::Bytes;
use bartizan_stream::message::PolicySet;
use serde_json::json;

use super::*;

fn text(name: &str, serial: u64) -> String {
    json!({
        "version": 1, "name": name, "serial": serial,
        "rules": [{ "name": "all", "effect": "allow", "network": {} }],
    })
    .to_string()
}

fn signed(key: &EphemeralKey, text: &str) -> Vec<u8> {
    sign_policy(text, Format::Json, &key.public_key(), key).unwrap()
}

fn authors(key: &EphemeralKey) -> Authors {
    let scope = json!({ "policies": ["*"], "kinds": ["network"], "highest_priority": 0 });
    let author = Author {
        name: "ann".into(),
        key: AuthorKey::new(key.public_key()).unwrap(),
        scope: serde_json::from_value(scope).unwrap(),
    };
    Authors::new(vec![author]).unwrap()
}

fn number(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).unwrap()
}

fn set(of: u64, signed: &[Vec<u8>]) -> PolicySet {
    let signed = signed.iter().map(|signed| Bytes::from(signed.clone()));
    PolicySet::new(number(of), signed.collect()).unwrap()
}

struct Rig {
    key: EphemeralKey,
    authors: Authors,
    ruling: Ruling,
    held: Held,
}

impl Rig {
    fn new() -> Self {
        let key = EphemeralKey::generate().unwrap();
        Self {
            authors: authors(&key),
            key,
            ruling: Ruling::default(),
            held: Held::new([1; 16]),
        }
    }

    fn take(&self, set: &PolicySet) -> Result<(), RefusalReason> {
        let taken = self.held.take(set, &self.authors, &self.ruling);
        taken.map_err(|refused| refused.reason)
    }

    fn rules(&self) -> u64 {
        self.ruling.decider().set()
    }
}

#[test]
fn a_set_rules_and_is_acknowledged_once() {
    let rig = Rig::new();
    assert_eq!(rig.held.in_force_since(0, &rig.ruling), None);
    rig.take(&set(3, &[signed(&rig.key, &text("web", 1))]))
        .unwrap();
    assert_eq!(rig.rules(), 3);
    assert_eq!(
        rig.held.in_force_since(2, &rig.ruling),
        None,
        "devices judge by another still"
    );
    let Some(Up::PolicyInForce { set: told, .. }) = rig.held.in_force_since(3, &rig.ruling) else {
        panic!("nothing is acknowledged");
    };
    assert_eq!(told.number, number(3));
    assert_eq!(rig.held.in_force_since(3, &rig.ruling), None);
    assert_eq!(rig.held.hello().in_force, Some(told));
    // Another signature of the same text is another set.
    let other_signature = set(3, &[signed(&rig.key, &text("web", 1))]);
    assert_eq!(rig.take(&other_signature), Err(RefusalReason::Rollback));
}

#[test]
fn the_same_set_is_taken_again_and_an_older_one_is_not() {
    let rig = Rig::new();
    let policies = [signed(&rig.key, &text("web", 7))];
    rig.take(&set(5, &policies)).unwrap();
    rig.take(&set(5, &policies)).unwrap();
    // Known attack: the verifier, or who has its database, puts back what was in force once.
    assert_eq!(rig.take(&set(4, &policies)), Err(RefusalReason::Rollback));
    assert_eq!(rig.take(&set(5, &[])), Err(RefusalReason::Rollback));
    // The same under a number that is newer, and with the policy away in between.
    let older = [signed(&rig.key, &text("web", 6))];
    assert_eq!(rig.take(&set(6, &older)), Err(RefusalReason::Rollback));
    rig.take(&set(7, &[])).unwrap();
    assert_eq!(rig.take(&set(8, &older)), Err(RefusalReason::Rollback));
    assert_eq!(rig.rules(), 7);
}

#[test]
fn what_no_author_signed_so_is_refused_and_what_ruled_rules_on() {
    let rig = Rig::new();
    rig.take(&set(1, &[signed(&rig.key, &text("web", 1))]))
        .unwrap();
    let stranger = EphemeralKey::generate().unwrap();
    let invented = signed(&stranger, &text("web", 2));
    let mut edited = signed(&rig.key, &text("web", 2));
    let at = edited
        .windows(5)
        .position(|bytes| bytes == b"allow")
        .unwrap();
    edited[at] ^= 1;
    let of_files = text("web", 2).replace("network", "file");
    let outside = signed(&rig.key, &of_files);
    for refused in [invented, edited, outside] {
        let good = signed(&rig.key, &text("other", 1));
        let offered = set(2, &[good, refused]);
        assert_eq!(rig.take(&offered), Err(RefusalReason::Author));
    }
    assert_eq!(
        rig.take(&set(2, &[vec![0xff]])),
        Err(RefusalReason::Malformed)
    );
    assert_eq!(rig.rules(), 1);
}

/// Known attack: a verifier that was taken over for a moment leaves a number behind that no other comes after.
#[test]
fn a_number_that_no_verifier_has_come_to_is_not_taken() {
    let rig = Rig::new();
    let policies = [signed(&rig.key, &text("web", 1))];
    let now = crate::run::now_s();
    for ahead in [u64::MAX, now + 2 * 3600] {
        assert_eq!(rig.take(&set(ahead, &policies)), Err(RefusalReason::Failed));
        let Up::CommandDone { outcome, .. } = rig.held.command(number(ahead), || {
            panic!("command {ahead} is done");
        }) else {
            panic!("no answer");
        };
        assert_eq!(outcome, CommandOutcome::Failed);
    }
    assert_eq!(rig.rules(), 0);
    assert_eq!(rig.held.hello().last_command, 0);
    rig.take(&set(now + 60, &policies)).unwrap();
    assert_eq!(rig.rules(), now + 60);
}

#[test]
fn a_command_is_done_once() {
    let held = Held::new([1; 16]);
    let mut done = 0;
    let mut ask = |of: u64| {
        let answer = held.command(number(of), || {
            done += 1;
            CommandOutcome::Done
        });
        match answer {
            Up::CommandDone { outcome, .. } => (outcome, done),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ask(4), (CommandOutcome::Done, 1));
    assert_eq!(ask(4), (CommandOutcome::Done, 1), "the answer was lost");
    assert_eq!(ask(3), (CommandOutcome::Failed, 1));
    assert_eq!(ask(5), (CommandOutcome::Done, 2));
}
