//! A log that is not what the card wrote: no operation is done, guests go on.

use std::fs;

use bartizan_attestation::certificates::Role;
use bartizan_attestation::host::{CardReply, CardRequest, MAX_FRAME, OperationReply};
use bartizan_attestation::operation::Operation;
use bartizan_local::{read_frame, write_frame};

use super::running::{Running, again, stop};

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
    // Not while a card has it.
    assert!(!scene.set_aside());
    scene.kill();
    assert!(scene.set_aside());
    scene.start_again();
    // The order was used in the former log: the new one does not know, and does none that old.
    assert_eq!(scene.word(&order), "replayed");
    let kept = fs::read_dir(scene.path("state")).unwrap();
    let names = kept.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let aside = names.filter(|name| name.starts_with("operations-"));
    assert_eq!(aside.count(), 1);
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
