use bartizan_local::flow::{Fallback, GuestEpoch, Width};
use bartizan_local::observation::{Amount, Filter, FlowEnd};
use proptest::prelude::*;

use super::super::page::{Cursor, PAGE};
use super::*;
use crate::net::frame::{Flags, Transport};
use crate::net::header::Header;
use crate::net::sample::{Station, ipv4, station, tcp, udp};

const GUEST: Guest = Guest {
    vm: [1; 16],
    boot: 1,
};
/// One holder alone gets half.
const LIMITS: Limits = Limits {
    flows: 16,
    half_open: 8,
    questions: 8,
    held_of_flow: 2,
    held_bytes: 400,
};

fn flows() -> Flows {
    let mut flows = Flows::new(GUEST, LIMITS, Numbers::default(), Instant::now());
    flows.set_available(true, Instant::now());
    flows
}

fn packet(from: Station, to: Station, protocol: u8, body: &[u8]) -> Packet {
    Packet::new(&Header::default(), ipv4(from, to, protocol, body), 0, 1500).unwrap()
}

fn datagram(ports: (u16, u16)) -> Packet {
    packet(station(1), station(2), 17, &udp(ports.0, ports.1, b"data"))
}

fn send(flows: &mut Flows, packet: Packet) -> Result<Judged, FlowError> {
    flows.judge(packet, Direction::Egress, Instant::now())
}

fn settle(flows: &mut Flows, verdict: &Verdict) -> Vec<(Direction, Packet)> {
    flows.settle(verdict, Instant::now())
}

fn verdict(question: &Question, allowed: bool) -> Verdict {
    Verdict {
        number: question.number,
        guest: question.guest,
        epoch: Epoch::default(),
        allowed,
        allowed_unavailable: false,
        reason: "test/rule".into(),
        width: Width {
            ports: question.flow.port.map(|port| (port, port)),
            ..Width::default()
        },
        begin_within_s: None,
    }
}

#[test]
fn what_exceeds_a_bound_is_refused_and_not_let_by() {
    let mut flows = flows();
    for port in 0..4 {
        assert_eq!(send(&mut flows, datagram((1, port))), Ok(Judged::Held));
    }
    assert_eq!(
        send(&mut flows, datagram((1, 9))),
        Err(FlowError::TooManyQuestions)
    );
    // 46 bytes each: the fifth would exceed what may wait, the third of a flow as well.
    assert_eq!(
        send(&mut flows, datagram((1, 0))),
        Err(FlowError::TooManyHeld)
    );
    let questions = flows.take_questions();
    assert_eq!(questions.len(), 4);
    let released = settle(&mut flows, &verdict(&questions[1], true));
    assert_eq!(released, [(Direction::Egress, datagram((1, 1)))]);
    assert_eq!(send(&mut flows, datagram((1, 0))), Ok(Judged::Held));
    assert_eq!(
        send(&mut flows, datagram((1, 0))),
        Err(FlowError::TooManyHeld)
    );
    // Flows of which the verdict is known take places, too.
    for source in 2..6 {
        assert!(matches!(
            send(&mut flows, datagram((source, 1))),
            Ok(Judged::Pass(_))
        ));
    }
    assert_eq!(
        send(&mut flows, datagram((6, 1))),
        Err(FlowError::TooManyFlows)
    );
    assert_eq!(flows.len(), LIMITS.flows / 2);
}

#[test]
fn flows_that_are_over_are_forgotten_and_told_of() {
    let mut flows = flows();
    let start = Instant::now();
    send(&mut flows, datagram((1, 53))).unwrap();
    let question = flows.take_questions().remove(0);
    settle(&mut flows, &verdict(&question, true));
    flows.expire(start + Duration::from_secs(5));
    assert_eq!(flows.len(), 1);
    flows.expire(start + Duration::from_secs(60));
    assert!(flows.is_empty());
    let records = flows.remembered();
    let record = records[0];
    let (packets, bytes) = (1, 46);
    assert_eq!(
        (record.flow, record.sent, record.received),
        (question.flow, Amount { packets, bytes }, Amount::default())
    );
    let decided = record.decided.as_ref().unwrap();
    assert!(decided.allowed && &*decided.rule == "test/rule" && decided.epoch == Epoch::default());
    assert_eq!(record.end, Some(FlowEnd::Idle));
    // An answer comes too late.
    let answer = packet(station(2), station(1), 17, &udp(53, 1, b"late"));
    assert_eq!(
        flows.judge(answer, Direction::Ingress, start),
        Ok(Judged::Held)
    );
    assert_eq!(flows.take_questions()[0].flow.direction, Direction::Ingress);
}

/// Known attack: a peer knocks at each port, or the guest itself does, so that what it did before is forgotten.
#[test]
fn a_flood_pushes_out_what_its_own_side_has_begun_and_few_of_it_are_kept() {
    let mut flows = flows();
    let start = Instant::now();
    send(&mut flows, datagram((1, 53))).unwrap();
    let question = flows.take_questions().remove(0);
    settle(&mut flows, &verdict(&question, true));
    flows.expire(start + Duration::from_secs(60));
    assert_eq!(flows.remembered().len(), 1);
    // From now on all that others begin is denied.
    let knock = |port| packet(station(2), station(1), 17, &udp(9, port, b"knock"));
    flows.judge(knock(1), Direction::Ingress, start).unwrap();
    let question = flows.take_questions().remove(0);
    let denied = Verdict {
        width: Width::default(),
        ..verdict(&question, false)
    };
    settle(&mut flows, &denied);
    for port in 0..10_000 {
        let judged = flows.judge(knock(port), Direction::Ingress, start);
        assert_eq!(judged, Err(FlowError::Denied));
    }
    let over = flows.remembered();
    assert_eq!(over.len(), 1 + super::super::record::MOST);
    assert_eq!(
        (over[0].flow.direction, over[0].flow.port),
        (Direction::Egress, Some(53))
    );
    // Of the same number it is one, however often.
    for _ in 0..10_000 {
        let _ = flows.judge(knock(9_999), Direction::Ingress, start);
    }
    assert_eq!(flows.remembered().len(), 1 + super::super::record::MOST);
    assert!(flows.next_deadline().is_some());
    flows.expire(start + Duration::from_secs(120));
    let over = flows.remembered();
    let last = over
        .iter()
        .find(|one| one.flow.port == Some(9_999))
        .unwrap();
    assert_eq!((last.refused, last.end), (10_001, Some(FlowEnd::Denied)));
}

#[test]
fn pages_are_all_of_the_flows_and_none_is_long() {
    let many = Limits {
        flows: 4000,
        questions: 4000,
        ..LIMITS
    };
    let mut flows = Flows::new(GUEST, many, Numbers::default(), Instant::now());
    flows.set_available(true, Instant::now());
    for port in 1..=1000 {
        send(&mut flows, datagram((port, 53))).unwrap();
        if port == 1 {
            let question = flows.take_questions().remove(0);
            settle(&mut flows, &verdict(&question, true));
        }
    }
    let pages = |flows: &Flows, filter: Filter| {
        let (mut all, mut next) = (Vec::new(), Some(Cursor::default()));
        while let Some(from) = next {
            let page;
            (page, next) = flows.page(from, &filter);
            assert!(page.len() <= PAGE);
            all.extend(page);
        }
        all
    };
    assert_eq!(pages(&flows, Filter::default()).len(), 1000);
    let some = Filter {
        ports: Some((10, 19)),
        ..Filter::default()
    };
    assert_eq!(pages(&flows, some).len(), 10);
    // Those that are over are told, too.
    flows.expire(Instant::now() + Duration::from_secs(3600));
    assert!(flows.is_empty());
    let over = pages(&flows, Filter::default());
    assert_eq!(over.len(), super::super::record::MOST);
    assert!(over.iter().all(|one| one.end == Some(FlowEnd::Idle)));
}

/// Known attack: attempts at what is denied come faster than pages are asked for, so that a list never ends.
#[test]
fn a_list_ends_while_more_flows_end() {
    let mut flows = flows();
    let knock = |port| packet(station(2), station(1), 17, &udp(9, port, b"knock"));
    flows
        .judge(knock(1), Direction::Ingress, Instant::now())
        .unwrap();
    let question = flows.take_questions().remove(0);
    let denied = Verdict {
        width: Width::default(),
        ..verdict(&question, false)
    };
    settle(&mut flows, &denied);
    let mut ports = 2..;
    let mut flood = |flows: &mut Flows| {
        for port in ports.by_ref().take(600) {
            let judged = flows.judge(knock(port), Direction::Ingress, Instant::now());
            assert_eq!(judged, Err(FlowError::Denied));
        }
    };
    flood(&mut flows);
    let filter = Filter {
        protocol: Some(6),
        ..Filter::default()
    };
    let (mut next, mut pages) = (Some(Cursor::default()), 0);
    while let Some(from) = next {
        (_, next) = flows.page(from, &filter);
        flood(&mut flows);
        pages += 1;
        assert!(pages < 20);
    }
}

#[test]
fn what_became_of_a_packet_passes_where_the_packet_did() {
    let mut flows = flows();
    let sent = datagram((1, 53));
    let error = |from: Station, quoted: &Packet| {
        let body = [[3, 3, 0, 0, 0, 0, 0, 0].as_slice(), &quoted.bytes[14..42]].concat();
        packet(from, station(1), 1, &body)
    };
    let from_peer = error(station(2), &sent);
    let receive = |flows: &mut Flows, packet: &Packet| {
        flows.judge(packet.clone(), Direction::Ingress, Instant::now())
    };
    // Known attack: of a flow that there is not; of one that is not allowed yet; by a third station.
    assert_eq!(receive(&mut flows, &from_peer), Err(FlowError::NoFlow));
    send(&mut flows, sent.clone()).unwrap();
    assert_eq!(receive(&mut flows, &from_peer), Err(FlowError::Denied));
    let question = flows.take_questions().remove(0);
    settle(&mut flows, &verdict(&question, true));
    assert_eq!(
        receive(&mut flows, &error(station(3), &sent)),
        Err(FlowError::NoFlow)
    );
    assert_eq!(
        receive(&mut flows, &from_peer),
        Ok(Judged::Pass(from_peer.clone()))
    );
    assert!(flows.take_questions().is_empty());
}

#[test]
fn echoes_are_answered_and_answers_begin_nothing() {
    let mut flows = flows();
    let echo = |kind, from, to| packet(from, to, 1, &[kind, 0, 0, 0, 0, 7, 0, 1]);
    let reply = echo(0, station(2), station(1));
    let unasked = flows.judge(reply.clone(), Direction::Ingress, Instant::now());
    assert_eq!(unasked, Err(FlowError::NoFlow));
    send(&mut flows, echo(8, station(1), station(2))).unwrap();
    let question = flows.take_questions().remove(0);
    assert_eq!(
        (question.flow.icmp_type, question.flow.port),
        (Some(8), None)
    );
    settle(&mut flows, &verdict(&question, true));
    let asked = flows.judge(reply.clone(), Direction::Ingress, Instant::now());
    assert_eq!(asked, Ok(Judged::Pass(reply)));
}

#[test]
fn a_port_that_is_used_again_is_asked_about_again() {
    let mut flows = flows();
    let segment = |flags| packet(station(1), station(2), 6, &tcp(1, 80, flags, b""));
    send(&mut flows, segment(Flags::SYN)).unwrap();
    let question = flows.take_questions().remove(0);
    assert_eq!(settle(&mut flows, &verdict(&question, true)).len(), 1);
    assert!(matches!(
        send(&mut flows, segment(Flags::RST)),
        Ok(Judged::Pass(_))
    ));
    // Or what is known of such flows would answer.
    flows.verdicts.clear();
    assert_eq!(send(&mut flows, segment(Flags::SYN)), Ok(Judged::Held));
    assert_eq!(flows.take_questions().len(), 1);
    // Known attack: each further one of these is a question, of which only the last is counted.
    for _ in 0..3 {
        // Whether it waits with the first or there is no room for it.
        let _ = send(&mut flows, segment(Flags::RST));
        assert_eq!(
            send(&mut flows, segment(Flags::SYN)),
            Err(FlowError::TooManyQuestions)
        );
    }
    assert!(flows.take_questions().is_empty());
}

/// Known attack: another's answer, of a number that was given before, lets a flow pass that nobody decided on.
#[test]
fn a_verdict_that_leaves_its_flow_out_is_no_answer() {
    let mut flows = flows();
    send(&mut flows, datagram((1, 53))).unwrap();
    let question = flows.take_questions().remove(0);
    let another = Verdict {
        width: Width {
            ports: Some((81, 81)),
            ..Width::default()
        },
        ..verdict(&question, true)
    };
    assert!(settle(&mut flows, &another).is_empty());
    let asked = flows.take_questions();
    assert_eq!(asked.len(), 1);
    assert_eq!(settle(&mut flows, &verdict(&asked[0], true)).len(), 1);
}

#[test]
fn a_verdict_of_nobodys_question_changes_nothing() {
    let mut flows = flows();
    send(&mut flows, datagram((1, 53))).unwrap();
    let question = flows.take_questions().remove(0);
    let other = Question {
        number: question.number + 1,
        ..question.clone()
    };
    assert!(settle(&mut flows, &verdict(&other, true)).is_empty());
    assert_eq!(settle(&mut flows, &verdict(&question, false)), []);
    assert_eq!(send(&mut flows, datagram((1, 53))), Err(FlowError::Denied));
    assert!(settle(&mut flows, &verdict(&question, true)).is_empty());
    assert_eq!(send(&mut flows, datagram((1, 53))), Err(FlowError::Denied));
}

proptest! {
    /// Whatever is sent and decided: bounds hold, and nothing passes that was not allowed.
    #[test]
    fn bounds_hold_and_only_what_was_allowed_passes(steps in prop::collection::vec((0..6_u16, 0..4_u16, any::<bool>()), 0..200)) {
        let mut flows = flows();
        let mut allowed = [false; 4];
        let mut open = Vec::new();
        for (source, port, decides) in steps {
            if decides && !open.is_empty() {
                let question: Question = open.remove(0);
                let port = question.flow.port.unwrap();
                let allows = port.is_multiple_of(2);
                allowed[usize::from(port)] |= allows;
                for (_, packet) in settle(&mut flows, &verdict(&question, allows)) {
                    prop_assert_eq!(&packet.frame, &datagram((packet_source(&packet), port)).frame);
                    prop_assert!(allows);
                }
            } else if let Ok(Judged::Pass(_)) = send(&mut flows, datagram((source, port))) {
                prop_assert!(allowed[usize::from(port)]);
            }
            open.extend(flows.take_questions());
            prop_assert!(flows.len() <= LIMITS.flows / 2 && flows.asked.len() <= LIMITS.questions / 2);
            prop_assert!(flows.budget.held_bytes.used() <= LIMITS.held_bytes / 2);
            prop_assert_eq!(flows.budget.flows.used(), flows.len());
            prop_assert_eq!(flows.budget.questions.used(), flows.asked.len());
        }
    }
}

fn packet_source(packet: &Packet) -> u16 {
    match packet.frame.ip().map(|ip| &ip.transport) {
        Some(Transport::Udp { source, .. }) => *source,
        other => panic!("{other:?}"),
    }
}

/// Known attack: who decides is started again and counts epochs from the beginning, so that what the former one decided would hold for ever,
/// or nothing that this one decides.
#[test]
fn what_another_decided_is_asked_about_again() {
    let mut flows = flows();
    send(&mut flows, datagram((1, 1))).unwrap();
    let asked = flows.take_questions();
    flows.enter(Epoch {
        policy: 7,
        state: 9,
    });
    // Before any epoch that holds.
    assert!(settle(&mut flows, &verdict(&asked[0], true)).is_empty());
    let asked = flows.take_questions();
    let by = |question: &Question, policy, state| Verdict {
        epoch: Epoch { policy, state },
        ..verdict(question, true)
    };
    assert_eq!(settle(&mut flows, &by(&asked[0], 7, 9)).len(), 1);
    assert!(matches!(
        send(&mut flows, datagram((1, 1))),
        Ok(Judged::Pass(_))
    ));
    flows.set_available(false, Instant::now());
    flows.begin_anew();
    flows.set_available(true, Instant::now());
    flows.enter(Epoch {
        policy: 7,
        state: 1,
    });
    assert_eq!(send(&mut flows, datagram((1, 1))), Ok(Judged::Held));
    let asked = flows.take_questions();
    assert_eq!(asked.len(), 1);
    assert_eq!(settle(&mut flows, &by(&asked[0], 7, 1)).len(), 1);
    assert!(matches!(
        send(&mut flows, datagram((1, 1))),
        Ok(Judged::Pass(_))
    ));
}

/// The rule that allows it says so for such a time, and nobody asked about it before.
#[test]
fn what_was_told_in_advance_begins_while_nobody_can_decide() {
    let mut flows = flows();
    let told = |policy, port| Fallback {
        of: GuestEpoch {
            guest: flows.guest,
            epoch: Epoch { policy, state: 1 },
        },
        allowed: vec![Width {
            protocol: Some(17),
            ports: Some((port, port)),
            ..Width::default()
        }],
    };
    let (first, second) = (told(1, 1), told(2, 1));
    flows.enter(first.of.epoch);
    flows.fall_back(&first);
    // As long as somebody can, it is asked.
    assert_eq!(send(&mut flows, datagram((2, 1))), Ok(Judged::Held));
    flows.set_available(false, Instant::now());
    assert!(matches!(
        send(&mut flows, datagram((3, 1))),
        Ok(Judged::Pass(_))
    ));
    let other = send(&mut flows, datagram((3, 2)));
    assert_eq!(other, Err(FlowError::Unavailable));
    // Known attack: a policy takes it back, and nothing is told after that.
    flows.enter(second.of.epoch);
    for port in [3, 4] {
        let taken_back = send(&mut flows, datagram((port, 1)));
        assert_eq!(taken_back, Err(FlowError::Unavailable), "{port}");
    }
    flows.fall_back(&second);
    assert!(matches!(
        send(&mut flows, datagram((4, 1))),
        Ok(Judged::Pass(_))
    ));
    // What another told is nobody's word on what this one would.
    flows.begin_anew();
    let of_another = send(&mut flows, datagram((5, 1)));
    assert_eq!(of_another, Err(FlowError::Unavailable));
}
