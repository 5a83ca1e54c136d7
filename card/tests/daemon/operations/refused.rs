//! Orders that are refused: nothing is done, and the log says who wanted what.

use std::time::Instant;

use bartizan_attestation::certificates::Role;
use bartizan_attestation::cose::{MessageType, sign1};
use bartizan_attestation::host::OperationReply;
use bartizan_attestation::identity::CardId;
use bartizan_attestation::operation::{Operation, Order};
use minicbor::bytes::ByteVec;

use super::running::{Operator, Running, again, stop};
use crate::DEADLINE;
use crate::fleet::{Authority, now};

impl Running {
    /// Refused with this word, written down as this operator's, and nothing done.
    fn refuses(&self, signed: &[u8], word: &str, operator: &str) {
        assert_eq!(self.word(signed), word);
        let events = self.events();
        let refused = format!("refused {operator} {word}");
        assert!(events.contains(&refused), "{refused}: {events:?}");
        assert_eq!(self.hypervisor.asked_already(), None, "{word}");
    }

    /// An order that stops a guest, but for what is changed.
    fn changed(&self, change: impl FnOnce(&mut Order)) -> Order {
        let mut order = self.order_of(stop("web"));
        change(&mut order);
        order
    }
}

#[test]
fn what_no_operator_of_this_fleet_signed() {
    let scene = Running::start("");
    let ann = scene.operator("ann", Role::Administrator);
    let order = scene.order_of(stop("web"));
    scene.refuses(&order.encode(), "malformed", "nobody");
    scene.refuses(b"", "malformed", "nobody");
    let unsigned = sign1(MessageType::Operation, &order.encode(), &[], ann.key()).unwrap();
    scene.refuses(&unsigned, "signer", "nobody");
    let stranger = Operator::of(&Authority::fleet(), "ann", Role::Administrator);
    scene.refuses(&stranger.sign(&order), "signer", "nobody");
    let bob = scene.operator("bob", Role::Administrator);
    let stolen = sign1(
        MessageType::Operation,
        &order.encode(),
        ann.chain(),
        bob.key(),
    );
    scene.refuses(&stolen.unwrap(), "signature", "nobody");
    let mut flipped = ann.sign(&order);
    *flipped.last_mut().unwrap() ^= 1;
    scene.refuses(&flipped, "signature", "nobody");
    let kind = MessageType::LaunchRecord;
    let record = sign1(kind, &order.encode(), ann.chain(), ann.key()).unwrap();
    scene.refuses(&record, "malformed", "nobody");
}

#[test]
fn what_is_for_another_host_or_another_time() {
    let scene = Running::start("");
    let ann = scene.operator("ann", Role::Administrator);
    let refuses = |order: Order, word| scene.refuses(&ann.sign(&order), word, "ann");
    refuses(
        scene.changed(|order| order.host = CardId([1; 32])),
        "other-host",
    );
    let at = |issued_at, expires_at| {
        scene.changed(|order| (order.issued_at, order.expires_at) = (issued_at, expires_at))
    };
    refuses(at(now() - 60, now()), "expired");
    refuses(at(now() + 120, now() + 180), "not-yet-valid");
    refuses(at(now(), now() + 601), "lifetime");
    // From before the log, which would tell whether it was used.
    refuses(at(now() - 500, now() + 60), "replayed");
}

#[test]
fn what_was_used_already_also_by_a_card_that_starts_anew() {
    let mut scene = Running::start("");
    let ann = scene.operator("ann", Role::Runner);
    let order = ann.sign(&scene.order_of(stop("web")));
    let done = scene.hand_in(&order).reply();
    assert!(matches!(done, OperationReply::Guests(_)), "{done:?}");
    scene.hypervisor.asked();
    scene.refuses(&order, "replayed", "ann");
    again(&mut scene);
    scene.refuses(&order, "replayed", "ann");
    // Another order with the same nonce.
    let original = scene.order_of(stop("web"));
    let first = ann.sign(&original);
    scene.hand_in(&first).reply();
    scene.hypervisor.asked();
    let second = Order {
        operation: stop("other"),
        ..original
    };
    scene.refuses(&ann.sign(&second), "replayed", "ann");
}

#[test]
fn one_order_handed_in_many_times_at_once_is_done_once() {
    let scene = Running::start("");
    let ann = scene.operator("ann", Role::Runner);
    let order = ann.sign(&scene.order_of(stop("web")));
    let all: Vec<_> = (0..8).map(|_| scene.hand_in(&order)).collect();
    let replies = all.into_iter().map(|pending| pending.reply());
    let done = replies.filter(|reply| matches!(reply, OperationReply::Guests(_)));
    assert_eq!(done.count(), 1);
    scene.hypervisor.asked();
    assert_eq!(scene.hypervisor.asked_already(), None);
}

#[test]
fn what_the_role_does_not_allow() {
    let scene = Running::start("");
    let oscar = scene.operator("oscar", Role::Observer);
    for operation in [
        stop("web"),
        Operation::RunGuest { record: vec![1] },
        Operation::ReadConsole {
            vm: "web".into(),
            max: 1,
        },
    ] {
        let order = oscar.sign(&scene.order_of(operation));
        scene.refuses(&order, "role", "oscar");
    }
    let listed = scene.order(&oscar, Operation::ListGuests);
    assert!(matches!(listed, OperationReply::Guests(_)));
}

#[test]
fn what_a_revoked_operator_orders() {
    let scene = Running::start("");
    let (ann, mallory) = (
        scene.operator("ann", Role::Runner),
        scene.operator("mallory", Role::Administrator),
    );
    let revoke = |name: &str| scene.verifier.as_ref().unwrap().revoke(name);
    let before = scene.order(&mallory, stop("web"));
    assert!(matches!(before, OperationReply::Guests(_)));
    scene.hypervisor.asked();
    revoke("mallory");
    let order = mallory.sign(&scene.order_of(stop("web")));
    scene.refuses(&order, "operator-revoked", "mallory");
    let others = scene.order(&ann, stop("web"));
    assert!(matches!(others, OperationReply::Guests(_)));
}

#[test]
fn without_the_verifier_the_last_answer_counts_for_the_grace_alone() {
    for (grace, expected) in [
        ("launch_grace_s: 600", None),
        ("", Some("standing-unknown")),
    ] {
        let mut scene = Running::start(grace);
        let ann = scene.operator("ann", Role::Runner);
        scene.order(&ann, Operation::ListGuests);
        drop(scene.verifier.take());
        match scene.order(&ann, Operation::ListGuests) {
            OperationReply::Refused(refusal) => assert_eq!(Some(refusal.word()), expected),
            _ => assert_eq!(expected, None),
        }
    }
}

#[test]
fn what_is_too_large_or_no_message() {
    let scene = Running::start("");
    let ann = scene.operator("ann", Role::Administrator);
    scene.refuses(&vec![0; 400 << 10], "malformed", "nobody");
    let refused = scene.say(&ByteVec::from(vec![0; 9])).reply();
    assert!(
        matches!(&refused, OperationReply::Refused(refusal) if refusal.word() == "malformed"),
        "{refused:?}"
    );
    let refusals = || {
        let events = scene.events();
        let malformed = |event: &&String| *event == "refused nobody malformed";
        events.iter().filter(malformed).count()
    };
    let before = refusals();
    // Whoever sends it may not get to read the answer.
    drop(scene.say(&ByteVec::from(vec![0; 2 << 20])));
    let begun = Instant::now();
    while refusals() == before {
        assert!(begun.elapsed() < DEADLINE, "not written down");
    }
    // The next one is served.
    scene.order(&ann, Operation::ListGuests);
}

#[test]
fn many_refusals_fill_no_disk_and_keep_nobody_out() {
    let scene = Running::start("");
    for _ in 0..200 {
        scene.word(b"junk");
    }
    let ann = scene.operator("ann", Role::Observer);
    let order = ann.sign(&scene.order_of(stop("web")));
    scene.refuses(&order, "role", "ann");
    let events = scene.events();
    let junk = events
        .iter()
        .filter(|event| *event == "refused nobody malformed");
    assert_eq!(junk.count(), 32);
}
