//! Connections that began before devices did.

use std::time::Duration;

use bartizan_local::flow::Direction::{self, Egress, Ingress};
use bartizan_local::flow::Question;
use bartizan_local::observation::Filter;

use super::lab::{Lab, guest};
use crate::net::flow::{Cursor, Limits};
use crate::net::refusals::Reason;
use crate::net::sample::{ipv4, ipv6, station, tcp};

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// Both guests ran before.
fn lab() -> Lab {
    let mut lab = Lab::with(&[true, true], Limits::default());
    lab.is_exact = true;
    lab
}

/// A segment from one guest to another, by its ports.
fn segment(from: u8, to: u8, ports: (u16, u16), flags: u8) -> Vec<u8> {
    let body = tcp(ports.0, ports.1, flags, b"data");
    ipv4(station(from), station(to), 6, &body)
}

fn asked(lab: &Lab) -> Vec<(u8, Direction, u16)> {
    let of = |question: &Question| {
        let flow = question.flow;
        (question.guest.vm[0], flow.direction, flow.port.unwrap())
    };
    lab.asked.iter().map(of).collect()
}

/// Whether that is asked of that guest.
fn is(question: &Question, number: u8, direction: Direction, port: u16) -> bool {
    let flow = question.flow;
    question.guest == guest(number) && flow.direction == direction && flow.port == Some(port)
}

#[test]
fn an_established_connection_goes_on_once_both_sides_were_asked() {
    for first in [1, 2] {
        let mut lab = lab();
        let (there, back) = (
            segment(1, 2, (40_000, 80), ACK),
            segment(2, 1, (80, 40_000), ACK),
        );
        for from in [first, 3 - first] {
            let sent = if from == 1 { &there } else { &back };
            lab.passes(from, 3 - from, sent);
        }
        let mut all = asked(&lab);
        all.sort_unstable();
        // As of a connection of the first guest's, whoever speaks first.
        assert_eq!(all, [(1, Egress, 80), (2, Ingress, 80)]);
        lab.passes(1, 2, &segment(1, 2, (40_000, 80), FIN | ACK));
        lab.passes(2, 1, &segment(2, 1, (80, 40_000), FIN | ACK));
        lab.blocks(&segment(1, 2, (40_000, 80), SYN | FIN), Reason::TcpFlags);
    }
}

#[test]
fn an_established_connection_goes_on_over_ipv6() {
    let mut lab = lab();
    let frame = ipv6(station(1), station(2), 6, &tcp(40_000, 80, ACK, b"data"));
    lab.passes(1, 2, &frame);
}

/// Known attack: segments without a handshake, from a guest that was just started, or to one, or whenever.
#[test]
fn only_for_guests_that_ran_before_and_only_for_a_while() {
    let sent = segment(1, 2, (40_000, 80), ACK);
    let mut lab = Lab::with(&[false, true], Limits::default());
    lab.blocks(&sent, Reason::TcpHandshake);
    let mut lab = Lab::with(&[true, false], Limits::default());
    lab.send(1, &sent);
    assert!(lab.received(2).is_empty());
    assert_eq!(lab.refused(2, Ingress, Reason::TcpHandshake), 1);
    let mut lab = self::lab();
    lab.now += Duration::from_secs(60);
    lab.blocks(&sent, Reason::TcpHandshake);
    // One that was taken up before goes on.
    let mut lab = self::lab();
    lab.passes(1, 2, &sent);
    lab.passes(2, 1, &segment(2, 1, (80, 40_000), ACK));
    lab.now += Duration::from_secs(60);
    lab.passes(1, 2, &sent);
    lab.blocks(&segment(1, 2, (40_001, 80), ACK), Reason::TcpHandshake);
}

#[test]
fn what_opens_or_ends_a_connection_takes_none_up() {
    let mut lab = lab();
    for flags in [SYN | ACK, RST, RST | ACK] {
        lab.blocks(&segment(1, 2, (40_000, 80), flags), Reason::TcpHandshake);
    }
}

#[test]
fn what_neither_end_may_begin_is_not_taken_up() {
    let mut lab = lab();
    lab.policy = Box::new(|_| Some(false));
    let sent = segment(1, 2, (40_000, 80), ACK);
    lab.send(1, &sent);
    assert!(lab.received(2).is_empty());
    assert_eq!(asked(&lab), [(1, Egress, 80), (1, Ingress, 40_000)]);
    lab.blocks(&sent, Reason::Denied);
    // The other side's word counts as well.
    let mut lab = self::lab();
    lab.policy = Box::new(|question| Some(question.guest == guest(1)));
    lab.send(1, &sent);
    lab.send(1, &sent);
    assert!(lab.received(2).is_empty());
    assert!(lab.refused(2, Ingress, Reason::Denied) > 0);
}

/// Known attack on whoever reads what was denied: a connection that is taken up is told of as an attempt that was not.
#[test]
fn only_what_is_not_taken_up_is_an_attempt() {
    let attempts = |lab: &mut Lab| {
        let guest = lab.guest(1);
        let (_, next) = guest
            .core
            .port
            .flows
            .page(Cursor::default(), &Filter::default());
        let (denied, _) = guest
            .core
            .port
            .flows
            .page(next.unwrap(), &Filter::default());
        denied
    };
    let mut lab = lab();
    lab.is_exact = false;
    lab.policy =
        Box::new(|question| Some(question.guest == guest(2) || question.flow.direction == Egress));
    // What both directions are is known by now.
    lab.send(1, &segment(1, 2, (33_000, 50_051), ACK));
    lab.send(1, &segment(1, 2, (33_001, 50_051), ACK));
    assert_eq!(lab.guest(1).core.port.flows.len(), 2);
    assert_eq!(attempts(&mut lab), []);
    let mut lab = self::lab();
    lab.is_exact = false;
    lab.policy = Box::new(|_| Some(false));
    lab.send(1, &segment(1, 2, (33_000, 50_051), ACK));
    lab.send(1, &segment(1, 2, (33_001, 50_051), ACK));
    let denied = attempts(&mut lab);
    assert_eq!(denied.len(), 1, "{denied:?}");
    assert_eq!((denied[0].flow.direction, denied[0].refused), (Ingress, 1));
}

#[test]
fn a_server_at_a_high_port_is_found_by_the_second_question() {
    let mut lab = lab();
    lab.policy = Box::new(|question| {
        Some(is(question, 1, Egress, 50_051) || is(question, 2, Ingress, 50_051))
    });
    let (there, back) = (
        segment(1, 2, (33_000, 50_051), ACK),
        segment(2, 1, (50_051, 33_000), ACK),
    );
    lab.passes(1, 2, &there);
    assert_eq!(
        asked(&lab),
        [
            (1, Ingress, 33_000),
            (1, Egress, 50_051),
            (2, Ingress, 50_051)
        ]
    );
    lab.passes(2, 1, &back);
}

/// The side that speaks first may begin it either way, the other one side only.
#[test]
fn the_side_that_is_allowed_more_follows_the_other() {
    let mut lab = lab();
    // The second guest is the client of a server at a high port of the first one's.
    lab.policy =
        Box::new(|question| Some(question.guest == guest(2) || is(question, 1, Ingress, 50_051)));
    let (there, back) = (
        segment(2, 1, (33_000, 50_051), ACK),
        segment(1, 2, (50_051, 33_000), ACK),
    );
    // It takes the first guest for who began it, which that one may not have.
    lab.send(2, &there);
    assert!(lab.received(1).is_empty());
    lab.send(1, &back);
    lab.received(2);
    lab.passes(2, 1, &there);
    lab.passes(1, 2, &back);
}

/// Known attack: two guests that work together have each side allow what the other does not.
#[test]
fn each_side_allowing_another_beginner_lets_nothing_pass() {
    let mut lab = lab();
    lab.policy =
        Box::new(|question| Some(is(question, 1, Egress, 80) || is(question, 2, Egress, 40_000)));
    for round in 0..40 {
        lab.send(1, &segment(1, 2, (40_000, 80), ACK));
        lab.send(2, &segment(2, 1, (80, 40_000), ACK));
        if round % 2 == 0 {
            lab.now += Duration::from_secs(1);
        }
        assert!(lab.received(1).is_empty() && lab.received(2).is_empty());
    }
}

/// Known attack: the table is filled with connections that never were.
#[test]
fn segments_of_connections_that_never_were_take_few_places() {
    let mut lab = lab();
    lab.is_exact = false;
    let flood = (0..10_000).map(|port| segment(1, 2, (20_000 + port, 80), ACK));
    lab.send_all(1, flood);
    let most = Limits::default().half_open / 2;
    assert_eq!(lab.guest(1).core.port.flows.len(), most);
    assert_eq!(
        lab.refused(1, Egress, Reason::HalfOpen),
        10_000 - most as u64
    );
    // Those that the other end knows nothing of are soon gone.
    lab.now += Duration::from_secs(31);
    lab.run();
    assert!(lab.guest(1).core.port.flows.is_empty());
}
