//! Known attacks: more than there is room for. And as many flows as there may be, at a change of policy.

use std::collections::HashMap;
use std::net::IpAddr;

use bartizan_local::flow::Direction::{Egress, Ingress};

use super::lab::{Lab, SIZE, guest};
use crate::net::flow::Limits;
use crate::net::refusals::Reason;
use crate::net::sample::{ipv4, station, tcp, udp};

fn datagram(from: u8, to: u8, ports: (u16, u16), data: &[u8]) -> Vec<u8> {
    ipv4(station(from), station(to), 17, &udp(ports.0, ports.1, data))
}

/// Sends frames of the first guest, which the second one takes as fast as it can.
fn flood(lab: &mut Lab, frames: impl Iterator<Item = Vec<u8>>) {
    let mut frames = frames.peekable();
    while frames.peek().is_some() {
        lab.send_all(1, frames.by_ref().take(64));
        lab.drain(2);
    }
}

/// All that a guest may have held, by its budget.
fn check_bounds(lab: &mut Lab) {
    let limits = Limits::default();
    for number in 1..=3 {
        let flows = &lab.guest(number).core.port.flows;
        let held = flows.held();
        assert_eq!(held.flows, flows.len());
        assert!(flows.kept_verdicts() <= 128, "{number}");
        // Of both directions.
        assert!(held.flows <= 2 * limits.flows, "{number}: {held:?}");
        assert!(held.half_open <= 2 * limits.half_open, "{number}: {held:?}");
        assert!(held.questions <= 2 * limits.questions, "{number}: {held:?}");
        assert!(
            held.held_bytes <= 2 * limits.held_bytes,
            "{number}: {held:?}"
        );
    }
}

/// The third guest's flows to the second go on meanwhile, old ones and new ones.
fn check_neighbours(lab: &mut Lab, round: u16) {
    lab.passes(3, 2, &datagram(3, 2, (1, 7), b"established"));
    lab.passes(2, 3, &datagram(2, 3, (7, 1), b"its answer"));
    lab.passes(3, 2, &datagram(3, 2, (1000 + round, 7), b"new"));
    lab.passes(
        3,
        2,
        &datagram(3, 2, (1, 1000 + round), b"new, asked about"),
    );
    lab.passes(2, 3, &datagram(2, 3, (1000 + round, 9), b"the other way"));
}

#[test]
fn a_million_new_flows_leave_the_others_working_and_memory_bounded() {
    let mut lab = Lab::with(&[false; 3], Limits::default());
    lab.is_exact = true;
    // Allowed, denied, and never decided on.
    lab.policy = Box::new(|question| {
        let is_floods = question.guest == guest(1) || question.flow.peer == station(1).v4;
        let port = question.flow.port.unwrap_or(0);
        (!is_floods || port % 3 != 0).then_some(!is_floods || port % 3 == 1)
    });
    check_neighbours(&mut lab, 0);
    for round in 1..=10_u16 {
        let ports = (0..100_000_u32).map(|flow| {
            let flow = u32::from(round - 1) * 100_000 + flow;
            // A million pairs.
            let low = |number: u32| u16::try_from(number).unwrap();
            (low(2000 + flow / 1000), low(2000 + flow % 1000))
        });
        flood(&mut lab, ports.map(|ports| datagram(1, 2, ports, b"flood")));
        check_bounds(&mut lab);
        check_neighbours(&mut lab, round);
    }
    let refusals = lab.guest(1).core.port.refusals();
    let of = |reason| refusals.of(Egress, reason);
    // Each of them was let pass, or counted as refused.
    let told: u64 = refusals.iter().map(|(.., count)| count).sum();
    assert!(told > 900_000, "{refusals:?}");
    assert!(of(Reason::Flows) > 0 && of(Reason::Denied) > 0 && of(Reason::Questions) > 0);
    assert!(lab.logged(Reason::Flows) && lab.logged(Reason::Questions));
}

/// Known attack: a peer that may speak to a guest opens connections, and never ends its handshakes.
#[test]
fn half_open_connections_of_one_peer_leave_room_for_anothers() {
    let mut lab = Lab::with(&[false; 3], Limits::default());
    let segment = |from, ports: (u16, u16), flags| {
        ipv4(
            station(from),
            station(2),
            6,
            &tcp(ports.0, ports.1, flags, b""),
        )
    };
    flood(&mut lab, (0..60_000).map(|port| segment(1, (port, 80), 2)));
    let most = Limits::default().half_open / 2;
    assert_eq!(lab.guest(2).core.port.flows.held().half_open, most);
    assert_eq!(
        lab.refused(1, Egress, Reason::HalfOpen),
        60_000 - most as u64
    );
    check_neighbours(&mut lab, 0);
    lab.passes(3, 2, &segment(3, (1000, 80), 2));
    let answer = ipv4(station(2), station(3), 6, &tcp(80, 1000, 0x12, b""));
    lab.passes(2, 3, &answer);
    lab.passes(3, 2, &segment(3, (1000, 80), 0x10));
}

/// Known attack: a peer whose flows nobody decides on holds all that may wait of a guest's.
#[test]
fn what_waits_of_one_peer_leaves_room_for_anothers() {
    let mut lab = Lab::with(&[false; 3], Limits::default());
    lab.is_exact = true;
    let (second, flooding) = (guest(2), IpAddr::V4(station(1).v4));
    lab.policy = Box::new(move |question| {
        (question.guest != second || question.flow.peer != flooding).then_some(true)
    });
    let flood = (0..2000_u16).map(|port| datagram(1, 2, (1000, 2000 + port), &[0; 1400]));
    for frame in flood {
        lab.send(1, &frame);
        lab.send(1, &frame);
    }
    assert!(lab.received(2).is_empty());
    let held = lab.guest(2).core.port.flows.held();
    assert_eq!(held.questions, Limits::default().questions / 2);
    assert!(held.held_bytes <= Limits::default().held_bytes / 2);
    assert!(lab.refused(2, Ingress, Reason::Questions) > 0);
    check_neighbours(&mut lab, 0);
}

const OPEN: u16 = 10_000;

/// Port and sequence number of each datagram to the second guest.
fn sequences(lab: &mut Lab) -> Vec<(u16, u16, u32)> {
    let frames = lab.received(2);
    let read = |frame: &Vec<u8>| {
        let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let number = u32::from_be_bytes(frame[42..46].try_into().unwrap());
        (port(34), port(36), number)
    };
    frames.iter().map(read).collect()
}

#[test]
fn a_policy_update_with_ten_thousand_flows_open_is_in_force_for_each() {
    let mut lab = Lab::new();
    lab.is_exact = true;
    let ports = |flow: u16| (2000 + flow / 100, 3000 + flow % 100);
    let send = |lab: &mut Lab, number: u32| {
        let mut all = Vec::new();
        for first in (0..OPEN).step_by(100) {
            let flows = first..first + 100;
            let frames = flows.map(|flow| datagram(1, 2, ports(flow), &number.to_be_bytes()));
            lab.send_all(1, frames);
            all.extend(sequences(lab));
        }
        all
    };
    assert_eq!(send(&mut lab, 1).len(), usize::from(OPEN));
    assert_eq!(lab.guest(1).core.port.flows.len(), usize::from(OPEN));
    assert_eq!(lab.guest(2).core.port.flows.len(), usize::from(OPEN));
    let asked = lab.asked.len();
    assert_eq!(send(&mut lab, 2).len(), usize::from(OPEN));
    assert_eq!(lab.asked.len(), asked);
    // On their way when the policy changes: more than the second guest has buffers for.
    for flow in 0..500 {
        lab.send(1, &datagram(1, 2, ports(flow), &3_u32.to_be_bytes()));
    }
    let former = lab.guest(2).core.port.flows.len();
    assert_eq!(former, usize::from(OPEN));
    lab.epoch.policy += 1;
    let even = |port: u16| port.is_multiple_of(2);
    lab.policy = Box::new(move |question| Some(even(question.flow.port.unwrap())));
    let (first, second) = (lab.enter(1), lab.enter(2));
    // What the second guest was given before the acknowledgement.
    let before = sequences(&mut lab);
    assert!(lab.in_force.is_empty() && before.iter().any(|(_, port, _)| !even(*port)));
    lab.run();
    assert_eq!(lab.in_force, [first, second]);
    // Of those that waited none comes: their sender's side let them pass by what does not hold any more.
    assert_eq!(sequences(&mut lab), []);
    assert!(lab.refused(2, Ingress, Reason::Overtaken) > 0);
    let mut newest: HashMap<(u16, u16), u32> = HashMap::new();
    for number in 4..7 {
        let passed = send(&mut lab, number);
        for (source, port, number) in passed {
            assert!(even(port), "{port} after the acknowledgement");
            let former = newest.insert((source, port), number);
            assert!(former.is_none_or(|former| former < number));
        }
    }
    // All of them, each judged anew.
    assert_eq!(newest.len(), usize::from(OPEN) / 2);
    assert!(newest.values().all(|number| *number == 6));
    let refused = lab.refused(1, Egress, Reason::Denied);
    assert!(refused >= u64::from(OPEN), "{refused}");
}

/// A guest that turns untrusted loses what was decided before at once, on both sides of its flows.
#[test]
fn a_state_that_changes_is_in_force_likewise() {
    let mut lab = Lab::new();
    lab.passes(1, 2, &datagram(1, 2, (1000, 53), b"trusted"));
    lab.policy = Box::new(|_| Some(false));
    lab.epoch.state += 1;
    lab.enter(1);
    lab.send(1, &datagram(1, 2, (1000, 53), b"not any more"));
    lab.blocks(&datagram(1, 2, (1000, 53), b"nor now"), Reason::Denied);
    lab.blocks(&datagram(1, 2, (1001, 53), b"nor others"), Reason::Denied);
}

/// What was let pass, and is not delivered since the guest has no room, is judged by what holds once it has.
#[test]
fn what_was_let_pass_and_waits_for_room_does_not_arrive_after_an_update() {
    let mut lab = Lab::new();
    lab.is_exact = true;
    let second = guest(2);
    lab.policy = Box::new(move |question| {
        (question.guest != second || question.flow.port == Some(53)).then_some(true)
    });
    let former = datagram(1, 2, (1000, 54), b"former");
    lab.send(1, &former);
    let question = lab.asked.last().unwrap().clone();
    // As many as there are buffers, and one.
    for _ in 0..=SIZE {
        lab.send(1, &datagram(1, 2, (1000, 53), b"fill"));
    }
    lab.policy = Box::new(|_| Some(true));
    lab.answer(question);
    lab.run();
    lab.policy = Box::new(|_| Some(false));
    lab.epoch.policy += 1;
    let epoch = lab.enter(2);
    lab.run();
    assert_eq!(lab.in_force, [epoch]);
    let arrived = lab.drain(2);
    assert_eq!(arrived.len(), usize::from(SIZE));
    assert!(!arrived.contains(&former));
}
