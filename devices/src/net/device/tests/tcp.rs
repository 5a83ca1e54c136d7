//! Known attacks by TCP: odd flags, no handshake, ports that are used again.

use std::time::Duration;

use bartizan_local::flow::Direction;

use super::lab::Lab;
use crate::net::refusals::Reason;
use crate::net::sample::{ipv4, ipv6, station, tcp};

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;
const URG: u8 = 32;

fn to_second(port: u16, flags: u8, data: &[u8]) -> Vec<u8> {
    ipv4(station(1), station(2), 6, &tcp(port, 80, flags, data))
}

fn to_first(port: u16, flags: u8, data: &[u8]) -> Vec<u8> {
    ipv4(station(2), station(1), 6, &tcp(80, port, flags, data))
}

/// A connection of the first guest's.
fn open(lab: &mut Lab, port: u16) {
    lab.passes(1, 2, &to_second(port, SYN, b""));
    lab.passes(2, 1, &to_first(port, SYN | ACK, b""));
    lab.passes(1, 2, &to_second(port, ACK, b""));
}

#[test]
fn flags_that_mean_nothing() {
    let mut lab = Lab::new();
    let all = FIN | SYN | RST | PSH | ACK | URG;
    for flags in [
        // nmap's null, FIN and Xmas scans.
        0,
        FIN,
        FIN | PSH | URG,
        PSH,
        URG,
        SYN | FIN,
        SYN | RST,
        SYN | FIN | ACK,
        SYN | RST | ACK,
        all,
    ] {
        lab.blocks(&to_second(1000, flags, b""), Reason::TcpFlags);
        let segment = tcp(1000, 80, flags, b"");
        let frame = ipv6(station(1), station(2), 6, &segment);
        lab.blocks(&frame, Reason::TcpFlags);
    }
    // In a connection that is open, too.
    open(&mut lab, 2000);
    let asked = lab.asked.len();
    lab.blocks(&to_second(2000, FIN | PSH | URG, b""), Reason::TcpFlags);
    lab.blocks(&to_second(2000, SYN | FIN, b""), Reason::TcpFlags);
    assert_eq!(lab.asked.len(), asked);
}

#[test]
fn no_handshake() {
    let mut lab = Lab::new();
    for flags in [
        ACK,
        ACK | PSH,
        ACK | FIN,
        SYN | ACK,
        RST,
        RST | ACK,
        ACK | FIN | PSH | URG,
    ] {
        let frame = to_second(1000, flags, b"");
        lab.blocks(&frame, Reason::TcpHandshake);
    }
    // Data before the other end has answered.
    lab.passes(1, 2, &to_second(1000, SYN, b""));
    lab.blocks(&to_second(1000, ACK, b"data"), Reason::TcpHandshake);
    lab.blocks(&to_second(1000, FIN | ACK, b""), Reason::TcpHandshake);
    lab.passes(2, 1, &to_first(1000, SYN | ACK, b""));
    lab.passes(1, 2, &to_second(1000, ACK, b"data"));
}

/// With the SYN there is data, before anybody has decided.
#[test]
fn data_with_the_syn_waits_for_the_verdict() {
    let mut lab = Lab::new();
    lab.policy = Box::new(|_| Some(false));
    lab.send(1, &to_second(1000, SYN, b"data"));
    assert!(lab.received(2).is_empty());
    assert_eq!(lab.asked.len(), 1);
    lab.blocks(&to_second(1000, SYN, b"data"), Reason::Denied);
    lab.blocks(&to_second(1001, SYN, b"data"), Reason::Denied);
}

#[test]
fn port_reuse_after_close() {
    let mut lab = Lab::new();
    open(&mut lab, 1000);
    lab.passes(1, 2, &to_second(1000, FIN | ACK, b""));
    lab.passes(2, 1, &to_first(1000, FIN | ACK, b""));
    // From here on another connection is asked about, by whoever's policy holds by now.
    lab.policy = Box::new(|_| Some(false));
    lab.epoch.policy += 1;
    lab.enter(1);
    lab.run();
    lab.send(1, &to_second(1000, SYN, b""));
    assert!(lab.received(2).is_empty());
    assert_eq!(lab.asked.last().unwrap().flow.port, Some(80));
    lab.blocks(&to_second(1000, ACK, b"data"), Reason::TcpHandshake);
    lab.blocks(&to_second(1000, SYN, b""), Reason::Denied);
}

/// Whoever ends a connection and goes on in it keeps it no longer than whoever does not.
#[test]
fn a_connection_that_is_closed_is_not_kept_by_using_it() {
    for end in [FIN | ACK, RST] {
        let mut lab = Lab::new();
        open(&mut lab, 1000);
        lab.passes(1, 2, &to_second(1000, end, b""));
        if end != RST {
            lab.passes(2, 1, &to_first(1000, end, b""));
        }
        for _ in 0..40 {
            lab.now += Duration::from_secs(1);
            lab.send(1, &to_second(1000, if end == RST { RST } else { ACK }, b""));
            lab.received(2);
        }
        assert!(lab.guest(1).core.port.flows.is_empty());
        lab.blocks(&to_second(1000, ACK, b"data"), Reason::TcpHandshake);
    }
}

/// Known attack: a client whose flow is denied, or of which nobody decides, tries again and again, and is remembered for ever: as denied
/// after it was allowed, or as asked about by a question that was lost.
#[test]
fn who_tries_again_and_again_is_asked_about_again() {
    for first in [Some(false), None] {
        let mut lab = Lab::new();
        lab.is_exact = true;
        lab.policy = Box::new(move |_| first);
        let syn = to_second(1000, SYN, b"");
        lab.send(1, &syn);
        lab.policy = Box::new(|_| Some(true));
        // What was known of such flows is forgotten by another policy; not the flow that was denied.
        for second in 0..15 {
            lab.now += Duration::from_secs(1);
            if second == 5 {
                lab.epoch.policy += 1;
                lab.enter(1);
            }
            lab.send(1, &syn);
        }
        assert!(!lab.received(2).is_empty(), "{first:?}");
    }
}

#[test]
fn a_connection_that_nobody_decides_on_in_time_is_not_lost() {
    let mut lab = Lab::new();
    open(&mut lab, 1000);
    // Another policy, and whoever decides says nothing for a while.
    lab.policy = Box::new(|_| None);
    lab.epoch.policy += 1;
    lab.enter(1);
    lab.run();
    for _ in 0..30 {
        lab.now += Duration::from_secs(1);
        lab.send(1, &to_second(1000, ACK, b"data"));
    }
    assert!(lab.received(2).is_empty());
    assert!(lab.refused(1, Direction::Egress, Reason::Held) > 0);
    lab.policy = Box::new(|_| Some(true));
    lab.now += Duration::from_secs(11);
    lab.run();
    lab.send(1, &to_second(1000, ACK, b"data"));
    let data = to_second(1000, ACK, b"data");
    assert!(lab.received(2).contains(&data));
}
