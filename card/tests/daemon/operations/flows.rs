//! What is shown of a guest's flows, piece by piece.

use bartizan_attestation::certificates::Role;
use bartizan_attestation::host::{
    FlowsEnd, FlowsSeen, FlowsTally, Observation, ObserveFlows, OperationReply, OperatorRefusal,
    OperatorReply, OperatorRequest,
};
use bartizan_attestation::operation::{CaptureLimits, FlowFilter, Network, Operation};

use super::running::Running;
use super::stand_in_hypervisor::{BREAKS_OFF_S, NEVER_BEGINS_S};

const LIMITS: CaptureLimits = CaptureLimits {
    packets: 9,
    bytes: 9,
    snap: 9,
    seconds: 9,
};
const TALLY: FlowsTally = FlowsTally {
    told: 1,
    bytes: 4,
    dropped: 0,
};

fn filter() -> FlowFilter {
    FlowFilter {
        protocol: Some(6),
        network: "10.0.0.0/8".parse::<Network>().ok(),
        ports: Some((443, 443)),
    }
}

fn capture() -> Operation {
    capture_of(LIMITS.seconds)
}

fn capture_of(seconds: u32) -> Operation {
    Operation::CaptureFlows {
        vm: "web".into(),
        filter: filter(),
        limits: CaptureLimits { seconds, ..LIMITS },
    }
}

fn watch() -> Operation {
    Operation::WatchFlows {
        vm: "web".into(),
        filter: filter(),
        seconds: 60,
    }
}

fn seen(reply: OperationReply) -> FlowsSeen {
    match reply {
        OperationReply::Guests(OperatorReply::Seen(seen)) => seen,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_capture_is_handed_on_piece_by_piece_and_written_down() {
    let scene = Running::start("");
    let ann = scene.operator("ann", Role::Administrator);
    let mut pending = scene.hand_in(&ann.sign(&scene.order_of(capture())));
    let why = FlowsEnd::Packets;
    for piece in [
        FlowsSeen::Pcap(b"head".to_vec()),
        FlowsSeen::Going(TALLY),
        FlowsSeen::Pcap(b"body".to_vec()),
        FlowsSeen::Ended { why, tally: TALLY },
    ] {
        assert_eq!(seen(pending.next()), piece);
    }
    let asked = ObserveFlows {
        vm: "web".into(),
        filter: filter(),
        what: Observation::Capture(LIMITS),
    };
    assert_eq!(
        scene.hypervisor.asked(),
        OperatorRequest::ObserveFlows(asked)
    );
    assert_eq!(
        scene.events()[1..3],
        ["begun ann capture-flows", "ended 1 shown"]
    );
}

/// Known attack: whoever may run a guest reads what others say to another one.
#[test]
fn packets_are_an_administrators_and_flows_an_observers() {
    let scene = Running::start("");
    let oscar = scene.operator("oscar", Role::Observer);
    let rae = scene.operator("rae", Role::Runner);
    for operator in [&oscar, &rae] {
        assert_eq!(scene.refusal(operator, capture()), "role");
    }
    assert_eq!(scene.hypervisor.asked_already(), None);
    let reply = scene.order(&oscar, watch());
    assert_eq!(seen(reply), FlowsSeen::Going(TALLY));
}

/// Known attack: an operator leaves, and what was ordered goes on for ever.
#[test]
fn what_nobody_reads_any_more_ends_and_that_is_written_down() {
    let scene = Running::start("");
    let oscar = scene.operator("oscar", Role::Observer);
    let mut pending = scene.hand_in(&oscar.sign(&scene.order_of(watch())));
    for _ in 0..100 {
        assert_eq!(seen(pending.next()), FlowsSeen::Going(TALLY));
    }
    drop(pending);
    scene.await_event("ended 1 shown");
}

/// Known attack: devices break off once they have disclosed packets, so that the log says that it was not done.
#[test]
fn a_capture_that_broke_off_is_not_written_down_as_refused() {
    let scene = Running::start("");
    let ann = scene.operator("ann", Role::Administrator);
    let is_away = |reply| match reply {
        OperationReply::Guests(OperatorReply::Refused(refusal)) => {
            assert!(
                matches!(refusal, OperatorRefusal::DevicesAway(_)),
                "{refusal}"
            );
        }
        other => panic!("{other:?}"),
    };
    is_away(scene.order(&ann, capture_of(NEVER_BEGINS_S)));
    scene.await_event("ended 1 refused");
    let mut pending = scene.hand_in(&ann.sign(&scene.order_of(capture_of(BREAKS_OFF_S))));
    assert_eq!(seen(pending.next()), FlowsSeen::Pcap(b"head".to_vec()));
    is_away(pending.next());
    let events = scene.events();
    let begun = events
        .iter()
        .rposition(|event| event == "begun ann capture-flows");
    let ended = format!("ended {} unknown", begun.unwrap());
    scene.await_event(&ended);
}

#[test]
fn a_hypervisor_that_ends_in_the_midst_is_away() {
    let scene = Running::start("");
    let oscar = scene.operator("oscar", Role::Observer);
    let list = Operation::ListFlows {
        vm: "web".into(),
        filter: filter(),
    };
    let mut pending = scene.hand_in(&oscar.sign(&scene.order_of(list)));
    assert_eq!(seen(pending.next()), FlowsSeen::Flows(Vec::new()));
    match pending.next() {
        OperationReply::Refused(refusal) => assert_eq!(refusal.word(), "hypervisor-away"),
        other => panic!("{other:?}"),
    }
    scene.await_event("ended 1 unknown");
}
