//! Orders at the card's socket: what is done, what is refused, and what the log says of both.

mod attesting;
mod enclave;
mod flows;
mod log;
mod refused;
mod running;
mod stand_in_hypervisor;

use running::{Running, again, stop};

use bartizan_attestation::boot::Sha384;
use bartizan_attestation::certificates::{Role, Subject, Usage};
use bartizan_attestation::host::{OperationReply, OperatorReply, OperatorRequest};
use bartizan_attestation::keys::StateRecord;
use bartizan_attestation::operation::{Operation, RotatableKey};

#[test]
fn operations_are_handed_to_the_hypervisor_and_written_down() {
    let mut scene = Running::start("");
    let ann = scene.operator("ann", Role::Runner);
    for (operation, asked) in [
        (Operation::ListGuests, OperatorRequest::List),
        (
            stop("web"),
            OperatorRequest::Stop {
                vm: "web".into(),
                force: false,
            },
        ),
        (
            Operation::RunGuest { record: vec![1; 8] },
            OperatorRequest::Run { record: vec![1; 8] },
        ),
    ] {
        let reply = scene.order(&ann, operation);
        assert_eq!(reply, OperationReply::Guests(OperatorReply::Done));
        assert_eq!(scene.hypervisor.asked(), asked);
    }
    let events = scene.events();
    let begun = |event: &str| event.starts_with("begun");
    assert_eq!(events.iter().filter(|event| begun(event)).count(), 4);
    assert_eq!(events[1], "begun ann list-guests");
    assert_eq!(events[2], "ended 1 done");
    again(&mut scene);
    assert_eq!(scene.events()[..3], events[..3]);
}

#[test]
fn a_tls_client_key_is_rotated_by_an_administrator() {
    let scene = Running::start("");
    let (ann, bob) = (
        scene.operator("ann", Role::Administrator),
        scene.operator("bob", Role::Runner),
    );
    let key = RotatableKey::TlsClient;
    let rotate = || Operation::RotateKeys { key };
    // Has the first one made.
    scene.order(&bob, Operation::ListGuests);
    let made = scene.vault.made();
    assert_eq!(scene.refusal(&bob, rotate()), "role");
    assert_eq!(scene.vault.made(), made);
    assert_eq!(scene.order(&ann, rotate()), OperationReply::Done);
    assert_eq!(scene.vault.made(), made + 1);
}

#[test]
fn a_card_identity_key_is_rotated_by_an_administrator() {
    let scene = Running::start("");
    let (ann, bob) = (
        scene.operator("ann", Role::Administrator),
        scene.operator("bob", Role::Runner),
    );
    let key = RotatableKey::Card;
    let rotate = || Operation::RotateKeys { key };
    assert_eq!(scene.refusal(&bob, rotate()), "role");
    assert!(scene.vault.installed.try_recv().is_err());
    for _ in 0..3 {
        assert_eq!(scene.order(&ann, rotate()), OperationReply::Done);
        scene.vault.installed.recv_timeout(crate::DEADLINE).unwrap();
    }
    // The next order is for the same host.
    scene.order(&bob, Operation::ListGuests);
}

#[test]
fn the_enclaves_state_is_reset_by_an_administrator() {
    let scene = Running::start("");
    let (ann, bob) = (
        scene.operator("ann", Role::Administrator),
        scene.operator("bob", Role::Runner),
    );
    let reset = || Operation::ResetEnclaveState;
    let digest = Sha384::of(b"a state");
    let record = Some(StateRecord { number: 4, digest });
    *scene.vault.state.lock().unwrap() = record;
    assert_eq!(scene.refusal(&bob, reset()), "role");
    assert_eq!(scene.refusal(&ann, reset()), "not-reset", "it is shut");
    assert_eq!(*scene.vault.state.lock().unwrap(), record);
    scene.vault.measure();
    assert_eq!(scene.order(&ann, reset()), OperationReply::Done);
    assert_eq!(*scene.vault.state.lock().unwrap(), None);
}

#[test]
fn a_certificate_is_renewed_for_the_same_key_by_an_administrator() {
    let scene = Running::start("");
    let (ann, bob) = (
        scene.operator("ann", Role::Administrator),
        scene.operator("bob", Role::Runner),
    );
    let renew = || Operation::RenewCertificate;
    assert_eq!(scene.refusal(&bob, renew()), "role");
    assert!(scene.vault.installed.try_recv().is_err());
    let OperationReply::Renewed(new) = scene.order(&ann, renew()) else {
        panic!("not renewed");
    };
    // A card's first key is what it is named by.
    assert_eq!(*new.key, scene.host.0);
    let installed = scene.vault.installed.recv_timeout(crate::DEADLINE).unwrap();
    let subject = Subject::in_certificate(&installed[0], Usage::Card);
    assert_eq!(subject.unwrap().card(), Some(scene.host));
    let events = scene.events();
    assert_eq!(
        events[2..4],
        ["begun ann renew-certificate", "ended 2 done"]
    );
}

#[test]
fn a_certificate_that_is_not_renewed_stays() {
    let mut scene = Running::start("launch_grace_s: 600");
    let ann = scene.operator("ann", Role::Administrator);
    let verifier = || scene.verifier.as_ref().unwrap();
    verifier().certify(false);
    assert_eq!(
        scene.refusal(&ann, Operation::RenewCertificate),
        "not-renewed"
    );
    verifier().refuse_renewals(Some("host-renewals-exhausted"));
    assert_eq!(
        scene.refusal(&ann, Operation::RenewCertificate),
        "host-refused"
    );
    let events = scene.events();
    assert_eq!(
        [&events[2], &events[4]],
        ["ended 1 refused", "ended 3 refused"]
    );
    drop(scene.verifier.take());
    assert_eq!(
        scene.refusal(&ann, Operation::RenewCertificate),
        "verifier-away"
    );
    let events = scene.events();
    assert_eq!(
        events
            .iter()
            .filter(|event| event.ends_with(" unknown"))
            .count(),
        1
    );
    assert!(scene.vault.installed.try_recv().is_err());
}

#[test]
fn a_card_identity_key_that_was_begun_is_no_refused_one() {
    let scene = Running::start("");
    let ann = scene.operator("ann", Role::Administrator);
    let key = RotatableKey::Card;
    let rotate = || Operation::RotateKeys { key };
    let verifier = scene.verifier.as_ref().unwrap();
    verifier.certify(false);
    assert_eq!(scene.refusal(&ann, rotate()), "rotation-begun");
    assert_eq!(scene.events()[2], "ended 1 unknown");
    assert!(scene.vault.installed.try_recv().is_err());
    let OperationReply::Keys(shown) = scene.order(&ann, Operation::ListKeys) else {
        panic!("no keys");
    };
    let waits = shown.keys.iter().find(|key| key.chain.is_empty()).unwrap();
    verifier.certify(true);
    assert_eq!(scene.order(&ann, rotate()), OperationReply::Done);
    assert_eq!(
        scene.installed().public_key.sha256(),
        *waits.id,
        "another key"
    );
}

#[test]
fn where_the_vault_does_not_say_that_it_installed_the_key_the_end_is_unknown() {
    let scene = Running::start("");
    let ann = scene.operator("ann", Role::Administrator);
    let key = RotatableKey::Card;
    scene.vault.be_silent(true);
    let refused = scene.refusal(&ann, Operation::RotateKeys { key });
    scene.vault.installed.recv_timeout(crate::DEADLINE).unwrap();
    assert_eq!(refused, "rotation-unknown");
    assert_eq!(scene.events()[2], "ended 1 unknown");
}

#[test]
fn a_report_key_is_rotated_by_the_hypervisor_for_an_administrator() {
    let scene = Running::start("");
    let (ann, bob) = (
        scene.operator("ann", Role::Administrator),
        scene.operator("bob", Role::Runner),
    );
    let rotate = || Operation::RotateReportKey { vm: "web".into() };
    assert_eq!(scene.refusal(&bob, rotate()), "role");
    let reply = scene.order(&ann, rotate());
    assert_eq!(reply, OperationReply::Guests(OperatorReply::Done));
    let vm = "web".to_owned();
    assert_eq!(
        scene.hypervisor.asked(),
        OperatorRequest::RotateReportKey { vm }
    );
}

#[test]
fn an_observer_is_told_of_the_hosts_keys_and_what_became_of_them() {
    let scene = Running::start("");
    let ann = scene.operator("ann", Role::Observer);
    let OperationReply::Keys(shown) = scene.order(&ann, Operation::ListKeys) else {
        panic!("no keys");
    };
    let OperationReply::KeyHistory(events) = scene.order(&ann, Operation::KeyHistory) else {
        panic!("no history");
    };
    assert_eq!((shown.keys.len(), events.len()), (1, 1));
    assert_eq!(shown.keys[0].id, events[0].id);
}

#[test]
fn a_long_operation_keeps_no_other_waiting() {
    let scene = Running::start("");
    let ann = scene.operator("ann", Role::Runner);
    scene.hypervisor.hold("slow");
    let slow = scene.hand_in(&ann.sign(&scene.order_of(stop("slow"))));
    scene.hypervisor.asked();
    for _ in 0..3 {
        let reply = scene.order(&ann, Operation::ListGuests);
        assert_eq!(reply, OperationReply::Guests(OperatorReply::Done));
    }
    scene.hypervisor.release();
    assert_eq!(slow.reply(), OperationReply::Guests(OperatorReply::Done));
}

#[test]
fn a_client_that_hangs_up_undoes_nothing() {
    let scene = Running::start("");
    let ann = scene.operator("ann", Role::Runner);
    scene.hypervisor.hold("slow");
    drop(scene.hand_in(&ann.sign(&scene.order_of(stop("slow")))));
    let asked = scene.hypervisor.asked();
    assert!(matches!(asked, OperatorRequest::Stop { vm, .. } if vm == "slow"));
    scene.hypervisor.release();
    scene.await_event("ended 1 done");
}

/// It was killed while the hypervisor worked: nobody knows what came of it, and the log says so.
#[test]
fn what_a_killed_card_had_under_way_is_said_to_be_unknown() {
    let mut scene = Running::start("");
    let ann = scene.operator("ann", Role::Runner);
    scene.hypervisor.hold("slow");
    let order = ann.sign(&scene.order_of(stop("slow")));
    let _waiting = scene.hand_in(&order);
    scene.hypervisor.asked();
    again(&mut scene);
    assert_eq!(scene.events()[2], "ended 1 interrupted");
    assert_eq!(scene.word(&order), "replayed");
}

#[test]
fn an_absent_hypervisor_is_said_to_be_absent() {
    let scene = Running::start("");
    let ann = scene.operator("ann", Role::Observer);
    std::fs::remove_file(scene.path("hypervisor.sock")).unwrap();
    let refused = scene.refusal(&ann, Operation::ListGuests);
    assert_eq!(refused, "hypervisor-unreached");
}
