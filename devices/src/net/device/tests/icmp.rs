//! Known attacks: data in messages that nobody asked for.

use std::time::Duration;

use super::lab::Lab;
use crate::net::refusals::Reason;
use crate::net::sample::{Station, ipv4, ipv6, station, tcp, udp};

fn echo(kind: u8, id: u8, data: &[u8]) -> Vec<u8> {
    [[kind, 0, 0, 0, 0, id, 0, 1].as_slice(), data].concat()
}

/// What became of a frame of the second guest's, as the first one tells it.
fn error(kind: u8, quoted: &[u8], tail: usize) -> Vec<u8> {
    let head = [kind, 3, 0, 0, 0, 0, 0, 0];
    let message = [head.as_slice(), &quoted[14..], &vec![0; tail]].concat();
    ipv4(station(1), station(2), 1, &message)
}

#[test]
fn echo_replies_without_a_request() {
    let (own, to) = (station(1), station(2));
    let mut lab = Lab::new();
    lab.blocks(&ipv4(own, to, 1, &echo(0, 7, b"data")), Reason::NoFlow);
    lab.blocks(&ipv6(own, to, 58, &echo(129, 7, b"data")), Reason::NoFlow);
    // Of another question than was asked.
    lab.passes(2, 1, &ipv4(to, own, 1, &echo(8, 7, b"")));
    lab.blocks(&ipv4(own, to, 1, &echo(0, 8, b"data")), Reason::NoFlow);
    lab.passes(1, 2, &ipv4(own, to, 1, &echo(0, 7, b"")));
}

#[test]
fn more_echo_replies_than_requests() {
    let (own, to) = (station(1), station(2));
    let mut lab = Lab::new();
    let reply = ipv4(own, to, 1, &echo(0, 7, b"data"));
    for _ in 0..3 {
        lab.passes(2, 1, &ipv4(to, own, 1, &echo(8, 7, b"")));
    }
    for _ in 0..3 {
        lab.passes(1, 2, &reply);
    }
    for _ in 0..20 {
        lab.blocks(&reply, Reason::UnaskedEcho);
        lab.now += Duration::from_secs(1);
    }
    lab.passes(2, 1, &ipv4(to, own, 1, &echo(8, 7, b"")));
    lab.passes(1, 2, &reply);
}

#[test]
fn errors_that_quote_no_flow() {
    let (own, to) = (station(1), station(2));
    let mut lab = Lab::new();
    for quoted in [
        ipv4(to, own, 17, &udp(1000, 53, b"")),
        ipv4(to, own, 6, &tcp(1000, 80, 2, b"")),
        ipv4(to, own, 1, &echo(8, 7, b"")),
        ipv4(to, own, 47, &[0; 8]),
        // Of a third station's.
        ipv4(to, station(3), 17, &udp(1000, 53, b"")),
        // Of its own, as though the other one had to hear of it.
        ipv4(own, to, 17, &udp(1000, 53, b"")),
    ] {
        for kind in [3, 11, 12] {
            lab.blocks(&error(kind, &quoted, 0), Reason::NoFlow);
        }
    }
    let quoted = ipv6(to, own, 17, &udp(1000, 53, b""));
    for kind in 1..=4 {
        let message = [[kind, 0, 0, 0, 0, 0, 5, 0].as_slice(), &quoted[14..]].concat();
        lab.blocks(&ipv6(own, to, 58, &message), Reason::NoFlow);
    }
}

#[test]
fn errors_with_a_tail() {
    let (own, to) = (station(1), station(2));
    let mut lab = Lab::new();
    let quoted = ipv4(to, own, 17, &udp(1000, 53, b""));
    lab.passes(2, 1, &quoted);
    // 20 bytes of IP's header, 8 of the message's, 28 of what is quoted: 576 are what hosts send.
    lab.passes(1, 2, &error(3, &quoted, 520));
    lab.blocks(&error(3, &quoted, 521), Reason::IcmpError);
    lab.blocks(&error(3, &quoted, 1400), Reason::IcmpError);
    let quoted = ipv6(to, own, 17, &udp(1000, 53, b""));
    lab.passes(2, 1, &quoted);
    let of = |tail: usize| {
        let head = [1, 4, 0, 0, 0, 0, 0, 0];
        let message = [head.as_slice(), &quoted[14..], &vec![0; tail]].concat();
        ipv6(own, to, 58, &message)
    };
    lab.passes(1, 2, &of(1280 - 40 - 8 - 48));
    lab.blocks(&of(1280 - 40 - 8 - 47), Reason::IcmpError);
}

#[test]
fn errors_that_quote_a_fragment_or_options() {
    let (own, to) = (station(1), station(2));
    let mut lab = Lab::new();
    lab.passes(2, 1, &ipv4(to, own, 17, &udp(1000, 53, b"")));
    let mut fragment = ipv4(to, own, 17, &udp(1000, 53, b""));
    fragment[20] = 0x20;
    crate::net::sample::seal(&mut fragment[14..34]);
    lab.blocks(&error(3, &fragment, 0), Reason::Fragment);
    let mut options = ipv4(to, own, 17, &udp(1000, 53, b""));
    options[14] = 0x46;
    lab.blocks(&error(3, &options, 0), Reason::IpOptions);
}

/// An error for a flow that is not allowed, or not yet, tells its sender nothing.
#[test]
fn errors_of_a_flow_that_is_denied() {
    let (own, to) = (station(1), station(2));
    let mut lab = Lab::new();
    let first = super::lab::guest(1);
    lab.policy = Box::new(move |question| Some(question.guest != first));
    let sent = ipv4(to, own, 17, &udp(1000, 53, b""));
    lab.send(2, &sent);
    assert!(lab.received(1).is_empty());
    lab.blocks(&error(3, &sent, 0), Reason::Denied);
}

#[test]
fn other_messages_are_asked_about_by_their_type() {
    let (own, to) = (station(1), station(2));
    let mut lab = Lab::new();
    lab.is_exact = true;
    lab.policy = Box::new(|question| Some(question.flow.icmp_type == Some(13)));
    lab.passes(1, 2, &ipv4(own, to, 1, &[13, 0, 0, 0, 0, 0, 0, 0]));
    for kind in [4, 14, 15, 16, 17, 18, 30, 42, 255] {
        lab.send(1, &ipv4(own, to, 1, &[kind, 0, 0, 0, 0, 0, 0, 0]));
        assert!(lab.received(2).is_empty(), "{kind}");
    }
    let other = Station {
        mac: own.mac,
        ..station(3)
    };
    lab.blocks(
        &ipv4(other, to, 1, &[13, 0, 0, 0, 0, 0, 0, 0]),
        Reason::SpoofedAddress,
    );
}
