//! The hypervisor daemon sees a guest's flows.

use std::os::unix::net::UnixStream;

use bartizan_local::admission::{self, AdmissionRequest};
use bartizan_local::flow::Direction;
use bartizan_local::observation::{
    Amount, CaptureLimits, Filter, FlowRecord, MAX_FRAME, Observation, ObservationEnd,
    ObservationRefusal, Observe, Observed, Tally,
};
use bartizan_local::{read_frame, write_frame};

use super::decider::Decider;
use super::guest::{NetGuest, boot};
use super::sample::arp_request;
use crate::daemon::Daemon;

const LIMITS: CaptureLimits = CaptureLimits {
    packets: 2,
    bytes: 1 << 20,
    snap: 42,
    seconds: 600,
};

fn observe(daemon: &Daemon, number: u8, filter: Filter, what: Observation) -> UnixStream {
    let guest = boot(number);
    let link = daemon.hypervisor();
    let observe = Observe {
        guest,
        filter,
        what,
    };
    let request = AdmissionRequest::Observe(observe);
    write_frame(&mut &link, &request, admission::MAX_FRAME).unwrap();
    link
}

fn next(link: &UnixStream) -> Observed {
    read_frame(&mut &*link, MAX_FRAME).unwrap()
}

/// What is said next, but that it goes on.
fn said(link: &UnixStream) -> Observed {
    loop {
        match next(link) {
            Observed::Going(_) => {}
            said => return said,
        }
    }
}

fn list(daemon: &Daemon, number: u8) -> Vec<FlowRecord> {
    let link = observe(daemon, number, Filter::default(), Observation::List);
    let mut all = Vec::new();
    loop {
        match next(&link) {
            Observed::Flows(flows) => all.extend(flows),
            Observed::Ended { why, tally } => {
                assert_eq!(
                    (why, tally.told),
                    (ObservationEnd::Complete, all.len() as u64)
                );
                return all;
            }
            other => panic!("{other:?}"),
        }
    }
}

fn of_port(port: u16) -> Filter {
    Filter {
        protocol: Some(17),
        ports: Some((port, port)),
        ..Filter::default()
    }
}

#[test]
fn flows_are_listed_with_what_has_passed_and_which_rule_says_so() {
    let daemon = Daemon::start();
    let decider = Decider::new(&daemon);
    let mut a = NetGuest::attached(71, &daemon);
    let mut b = NetGuest::attached(72, &daemon);
    assert_eq!(list(&daemon, 71), []);
    let sent = a.send_udp(b.station(), (1000, 53), b"question");
    decider.decide(boot(71), true);
    decider.decide(boot(72), true);
    assert_eq!(b.receive(), sent);
    let answer = b.send_udp(a.station(), (53, 1000), b"answer");
    assert_eq!(a.receive(), answer);
    a.send_udp(b.station(), (1000, 1), b"denied");
    decider.decide(boot(71), false);
    decider.wait_until_heard();
    // Known by now: these take no place.
    a.send_udp(b.station(), (1001, 1), b"again");
    a.send_udp(b.station(), (1002, 1), b"again");
    let last = a.send_udp(b.station(), (1000, 53), b"last");
    assert_eq!(b.receive(), last);

    let flows = list(&daemon, 71);
    let allowed = flows.iter().find(|one| one.flow.port == Some(53)).unwrap();
    let amount = |frames: &[&Vec<u8>]| Amount {
        packets: frames.len() as u64,
        bytes: frames.iter().map(|frame| frame.len() as u64).sum(),
    };
    assert_eq!(allowed.sent, amount(&[&sent, &last]));
    assert_eq!(allowed.received, amount(&[&answer]));
    assert_eq!((allowed.begun_port, allowed.end), (Some(1000), None));
    let decision = allowed.decision.as_ref().unwrap();
    assert!(decision.allowed && decision.rule == "test/rule" && decision.epoch == decider.epoch);
    let denied: Vec<_> = flows
        .iter()
        .filter(|one| one.flow.port == Some(1))
        .collect();
    assert_eq!(denied.len(), 2, "{flows:?}");
    assert_eq!(denied.iter().map(|one| one.refused).sum::<u64>(), 3);
    for one in denied {
        let decision = one.decision.as_ref().unwrap();
        assert!(!decision.allowed && decision.rule == "test/rule");
        assert_eq!(one.sent, Amount::default());
    }
    // The other side has its own.
    let theirs = list(&daemon, 72);
    assert_eq!(theirs.len(), 1);
    assert_eq!(theirs[0].flow.direction, Direction::Ingress);
}

#[test]
fn a_capture_has_what_was_sent_and_given_up_to_its_limits() {
    let daemon = Daemon::start();
    let decider = Decider::new(&daemon);
    let mut a = NetGuest::attached(73, &daemon);
    let mut b = NetGuest::attached(74, &daemon);
    let link = observe(&daemon, 73, of_port(53), Observation::Capture(LIMITS));
    assert_eq!(next(&link), Observed::Going(Tally::default()));
    // Of no flow, and of another.
    a.send(&arp_request(a.station(), b.station().v4));
    a.receive();
    a.send_udp(b.station(), (1000, 9), b"other");
    decider.decide(boot(73), false);
    let sent = a.send_udp(b.station(), (1000, 53), b"question");
    decider.decide(boot(73), true);
    decider.decide(boot(74), true);
    assert_eq!(b.receive(), sent);
    let answer = b.send_udp(a.station(), (53, 1000), b"answer");
    assert_eq!(a.receive(), answer);
    let mut captured = Vec::new();
    let (why, tally) = loop {
        match said(&link) {
            Observed::Packets(packets) => captured.extend(packets),
            Observed::Ended { why, tally } => break (why, tally),
            other => panic!("{other:?}"),
        }
    };
    let expected = [(Direction::Egress, &sent), (Direction::Ingress, &answer)];
    assert_eq!(captured.len(), expected.len());
    for (packet, (way, frame)) in captured.iter().zip(expected) {
        assert_eq!((packet.way, packet.length as usize), (way, frame.len()));
        assert_eq!(packet.bytes, frame[..42]);
    }
    assert!(captured[0].at_ns <= captured[1].at_ns);
    assert_eq!(
        (why, tally.told, tally.bytes, tally.dropped),
        (ObservationEnd::Packets, 2, 84, 0)
    );
}

/// Known attack: whoever captures does not read, and the guest stands still.
#[test]
fn a_reader_that_does_not_read_holds_up_no_guest() {
    let daemon = Daemon::start();
    let decider = Decider::new(&daemon);
    let mut a = NetGuest::attached(75, &daemon);
    let mut b = NetGuest::attached(76, &daemon);
    let endless = CaptureLimits {
        packets: u64::MAX,
        bytes: u64::MAX,
        ..LIMITS
    };
    let link = observe(
        &daemon,
        75,
        Filter::default(),
        Observation::Capture(endless),
    );
    assert_eq!(next(&link), Observed::Going(Tally::default()));
    let first = a.send_udp(b.station(), (1000, 53), &[0; 1000]);
    decider.decide(boot(75), true);
    decider.decide(boot(76), true);
    assert_eq!(b.receive(), first);
    // More than what is kept of it and what a socket holds.
    for _ in 0..10_000 {
        let sent = a.send_udp(b.station(), (1000, 53), &[0; 1000]);
        assert_eq!(b.receive(), sent);
    }
    // All of it is either told or counted, also where its device is gone by now.
    drop(a);
    let mut captured = 0;
    let (why, tally) = loop {
        match said(&link) {
            Observed::Packets(packets) => captured += packets.len() as u64,
            Observed::Ended { why, tally } => break (why, tally),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((why, tally.told), (ObservationEnd::Gone, captured));
    assert!(tally.dropped > 0);
    assert_eq!(tally.told + tally.dropped, 10_001);
}

#[test]
fn a_capture_is_over_once_its_time_is() {
    let daemon = Daemon::start();
    let _a = NetGuest::attached(81, &daemon);
    let limits = CaptureLimits {
        seconds: 1,
        ..LIMITS
    };
    let link = observe(&daemon, 81, Filter::default(), Observation::Capture(limits));
    let (why, tally) = (ObservationEnd::Time, Tally::default());
    assert_eq!(said(&link), Observed::Ended { why, tally });
}

#[test]
fn a_guest_that_ends_ends_what_is_seen_of_it() {
    let daemon = Daemon::start();
    let a = NetGuest::attached(77, &daemon);
    let watch = Observation::Watch { seconds: 600 };
    let watching = observe(&daemon, 77, Filter::default(), watch);
    let capturing = observe(&daemon, 77, Filter::default(), Observation::Capture(LIMITS));
    for link in [&watching, &capturing] {
        assert_eq!(next(link), Observed::Going(Tally::default()));
    }
    drop(a);
    for link in [&watching, &capturing] {
        let ended = said(link);
        assert!(
            matches!(
                ended,
                Observed::Ended {
                    why: ObservationEnd::Gone,
                    ..
                }
            ),
            "{ended:?}"
        );
    }
}

/// Known attack: a supervisor that its QEMU took over asks what other guests say.
#[test]
fn nobody_but_the_daemon_sees_any_of_it() {
    let daemon = Daemon::start();
    let _a = NetGuest::attached(78, &daemon);
    for link in [daemon.control(), daemon.stranger()] {
        let request = AdmissionRequest::Observe(Observe {
            guest: boot(78),
            filter: Filter::default(),
            what: Observation::List,
        });
        // A stranger's link may be over by now.
        let _ = write_frame(&mut &link, &request, admission::MAX_FRAME);
        assert!(read_frame::<Observed>(&mut &link, MAX_FRAME).is_err());
    }
}

#[test]
fn what_cannot_be_seen_is_refused_with_why() {
    let daemon = Daemon::start();
    let _a = NetGuest::attached(79, &daemon);
    let refused = |number, what| match next(&observe(&daemon, number, Filter::default(), what)) {
        Observed::Refused(why) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(80, Observation::List), ObservationRefusal::NoDevice);
    let endless = Observation::Watch { seconds: u32::MAX };
    assert_eq!(refused(79, endless), ObservationRefusal::Limits);
}

/// Known attack: an observer begins as many watches as there may be, so that no administrator may capture or list.
#[test]
fn watches_take_no_places_of_captures_or_lists() {
    let daemon = Daemon::start();
    let _a = NetGuest::attached(82, &daemon);
    let as_many_as_may_be = |what| {
        let begun = |_| {
            let link = observe(&daemon, 82, Filter::default(), what);
            match next(&link) {
                Observed::Going(_) => Some(link),
                Observed::Refused(ObservationRefusal::TooMany) => None,
                other => panic!("{other:?}"),
            }
        };
        (0..).map_while(begun).collect::<Vec<_>>()
    };
    let watches = as_many_as_may_be(Observation::Watch { seconds: 600 });
    assert_eq!(watches.len(), 16);
    let captures = as_many_as_may_be(Observation::Capture(LIMITS));
    assert_eq!(captures.len(), 8);
    assert_eq!(list(&daemon, 82), []);
}
