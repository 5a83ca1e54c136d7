//! A log that is not what the card wrote: no operation is done, guests go on.

use std::collections::BTreeMap;
use std::fs;

use bartizan_attestation::certificates::Role;
use bartizan_attestation::host::{CardReply, CardRequest, MAX_FRAME, OperationReply};
use bartizan_attestation::operation::Operation;
use bartizan_attestation::operation::log::{Event, Head, Outcome, Record};
use bartizan_local::{read_frame, write_frame};

use super::running::{Operator, Running, again, stop};
use crate::fleet::now;

#[test]
fn an_edit_stops_operations_until_the_log_is_put_aside() {
    let mut scene = Running::start("");
    let ann = scene.operator("ann", Role::Runner);
    let order = ann.sign(&scene.order_of(stop("web")));
    scene.hand_in(&order).reply();
    scene.hypervisor.asked();
    let path = scene.path("state/operations.log");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"ann\"", "\"bob\"")).unwrap();
    // The card reads all of it for whoever reads any of it.
    let read = || Operation::ReadLog { from: 2, most: 1 };
    assert_eq!(scene.refusal(&ann, read()), "log-broken");
    assert_eq!(scene.refusal(&ann, stop("web")), "log-broken");
    again(&mut scene);
    let refused = scene.order(&ann, stop("web"));
    let OperationReply::Refused(refusal) = refused else {
        panic!("{refused:?}")
    };
    assert!(refusal.to_string().contains("record 1 was changed"));
    assert_eq!(scene.hypervisor.asked_already(), None);
    assert!(matches!(boot(&scene), CardReply::Guest(_)));
    // Where a card has it, that card does it when it starts next.
    assert!(scene.set_aside());
    assert_eq!(scene.refusal(&ann, stop("web")), "log-broken");
    again(&mut scene);
    // The order was used in the former log: the new one does not know, and does none that old.
    assert_eq!(scene.word(&order), "replayed");
    let kept = fs::read_dir(scene.path("state")).unwrap();
    let names = kept.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let aside = names.filter(|name| name.starts_with("operations-"));
    assert_eq!(aside.count(), 1);
}

#[test]
fn a_log_is_put_aside_while_no_card_runs() {
    let mut scene = Running::start("");
    let ann = scene.operator("ann", Role::Runner);
    let order = ann.sign(&scene.order_of(stop("web")));
    scene.hand_in(&order).reply();
    scene.kill();
    assert!(scene.set_aside());
    scene.start_again();
    assert_eq!(scene.word(&order), "replayed");
    let path = scene.path("state/operations.log");
    let first = || {
        let text = fs::read_to_string(&path).unwrap();
        let (first, _) = text.split_once('\n').unwrap();
        first.to_owned()
    };
    let begun = first();
    assert!(begun.contains("\"after\""), "{begun}");
    again(&mut scene);
    assert_eq!(first(), begun);
}

/// Each order is in the log for ever: an operator who may only look fills no disk.
#[test]
fn who_has_ordered_as_much_as_may_be_waits_and_others_do_not() {
    let mut scene = Running::start("");
    let ann = scene.operator("ann", Role::Observer);
    let bob = scene.operator("bob", Role::Observer);
    scene.order(&ann, Operation::ListGuests);
    scene.kill();
    let begun = |number: u64| Event::Begun {
        operator: "ann".into(),
        role: Role::Observer,
        operation: "list-guests".into(),
        arguments: BTreeMap::new(),
        order_sha256: String::new(),
        nonce: number.to_string(),
        expires_at: now() + 1,
    };
    // The log's time stands still there for a while.
    let ahead = now() + 600;
    let ended = |begun| {
        let outcome = Outcome::Done;
        Event::Ended { begun, outcome }
    };
    let written = fs::read_to_string(scene.path("state/operations.log")).unwrap();
    let next = written.lines().count() as u64;
    let order = |number| [begun(number), ended(next + 2 * number)];
    append(&scene, ahead, (0..4096).flat_map(order));
    scene.start_again();
    let order_of = |operator: &Operator| {
        let mut order = scene.order_of(Operation::ListGuests);
        (order.issued_at, order.expires_at) = (ahead, ahead + 60);
        operator.sign(&order)
    };
    assert_eq!(scene.word(&order_of(&ann)), "too-many");
    let done = scene.hand_in(&order_of(&bob)).reply();
    assert!(matches!(done, OperationReply::Guests(_)), "{done:?}");
}

/// Time does not go back behind the log, for who signs as for what is signed.
#[test]
fn an_operator_whose_certificate_has_ended_by_the_log_is_refused() {
    let mut scene = Running::start("");
    let ann = scene.operator("ann", Role::Observer);
    scene.order(&ann, Operation::ListGuests);
    scene.kill();
    // The fleet CA lasts a day longer.
    let year_s = 365 * 24 * 3600 + 3600;
    let more = Event::MoreRefused {
        operator: None,
        count: 1,
    };
    let in_a_year = now() + year_s;
    append(&scene, in_a_year, [more].into_iter());
    scene.start_again();
    let mut order = scene.order_of(Operation::ListGuests);
    (order.issued_at, order.expires_at) = (in_a_year, in_a_year + 60);
    assert_eq!(scene.word(&ann.sign(&order)), "signer");
}

/// As the card would have written it, head and all.
fn append(scene: &Running, at_s: u64, events: impl Iterator<Item = Event>) {
    let (log, head) = ("state/operations.log", "state/operations.head");
    let mut text = fs::read(scene.path(log)).unwrap();
    let mut end: Head = serde_json::from_slice(&fs::read(scene.path(head)).unwrap()).unwrap();
    for event in events {
        let record = Record {
            index: end.count,
            at_s,
            previous: end.sha384.clone(),
            event,
        };
        let line = record.line().unwrap();
        end = end.after(&line);
        text.extend_from_slice(&line);
        text.push(b'\n');
    }
    fs::write(scene.path(log), text).unwrap();
    fs::write(scene.path(head), serde_json::to_vec(&end).unwrap()).unwrap();
}

#[test]
fn a_truncated_log_is_noticed_at_the_next_start() {
    let mut scene = Running::start("");
    let ann = scene.operator("ann", Role::Runner);
    scene.order(&ann, stop("web"));
    scene.kill();
    let path = scene.path("state/operations.log");
    let text = fs::read_to_string(&path).unwrap();
    let (first, _) = text.split_once('\n').unwrap();
    fs::write(&path, format!("{first}\n")).unwrap();
    scene.start_again();
    assert_eq!(scene.refusal(&ann, stop("web")), "log-broken");
}

/// As the hypervisor asks for a guest that boots.
fn boot(scene: &Running) -> CardReply {
    let mut link = std::os::unix::net::UnixStream::connect(scene.path("card.sock")).unwrap();
    let (vm, operator) = ([1; 16], "ann".to_owned());
    let request = CardRequest::NextBoot { vm, operator };
    write_frame(&mut link, &request, MAX_FRAME).unwrap();
    read_frame(&mut link, MAX_FRAME).unwrap()
}
