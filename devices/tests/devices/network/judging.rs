//! Flows that are allowed, denied and held.

use std::net::IpAddr;

use bartizan_local::flow::{Direction, ToDevices};
use vm_memory::{Bytes, GuestAddress};

use super::decider::Decider;
use super::guest::{NetGuest, boot};
use super::sample::{ipv4, ipv6, tcp, udp};
use crate::daemon::Daemon;

fn two(daemon: &Daemon) -> (NetGuest, NetGuest) {
    (
        NetGuest::attached(41, daemon),
        NetGuest::attached(42, daemon),
    )
}

#[test]
fn a_flow_is_asked_about_on_both_sides_and_its_answers_pass() {
    let daemon = Daemon::start();
    let decider = Decider::new(&daemon);
    let (mut a, mut b) = two(&daemon);
    let sent = a.send_udp(b.station(), (1000, 53), b"question");
    let flow = decider.decide(boot(41), true);
    assert_eq!((flow.direction, flow.protocol), (Direction::Egress, 17));
    assert_eq!(
        (flow.peer, flow.port),
        (IpAddr::V4(b.station().v4), Some(53))
    );
    let flow = decider.decide(boot(42), true);
    assert_eq!(flow.direction, Direction::Ingress);
    assert_eq!(
        (flow.peer, flow.port),
        (IpAddr::V4(a.station().v4), Some(53))
    );
    assert_eq!(b.receive(), sent);
    // Nobody is asked about these.
    let answer = b.send_udp(a.station(), (53, 1000), b"answer");
    assert_eq!(a.receive(), answer);
    let next = a.send_udp(b.station(), (1000, 53), b"next");
    assert_eq!(b.receive(), next);
    // Nor about flows of which the same was decided.
    let other = a.send_udp(b.station(), (1001, 53), b"other");
    assert_eq!(b.receive(), other);
}

#[test]
fn each_side_may_deny_and_what_is_denied_does_not_arrive() {
    let daemon = Daemon::start();
    let decider = Decider::new(&daemon);
    let (mut a, mut b) = two(&daemon);
    a.send_udp(b.station(), (1000, 1), b"by the sender's");
    decider.decide(boot(41), false);
    a.send_udp(b.station(), (1000, 2), b"by the receiver's");
    decider.decide(boot(41), true);
    decider.decide(boot(42), false);
    // What comes now is judged by threads that know both.
    decider.wait_until_heard();
    // Known by now.
    a.send_udp(b.station(), (1001, 1), b"again");
    a.send_udp(b.station(), (1001, 2), b"again");
    let sent = a.send_udp(b.station(), (1000, 3), b"allowed");
    decider.decide(boot(41), true);
    decider.decide(boot(42), true);
    assert_eq!(b.receive(), sent);
}

#[test]
fn tcp_over_ipv6_needs_its_handshake() {
    let daemon = Daemon::start();
    let decider = Decider::new(&daemon);
    let (mut a, mut b) = two(&daemon);
    let (to_b, to_a) = ((a.station(), b.station()), (b.station(), a.station()));
    let segment = |(from, to), ports: (u16, u16), flags| {
        ipv6(from, to, 6, &tcp(ports.0, ports.1, flags, b""))
    };
    // Without a SYN, and with flags that mean nothing: nobody is asked.
    for flags in [0x10, 0x11, 0, 0x29, 0x03, 0x06] {
        a.send(&segment(to_b, (1000, 80), flags));
    }
    let syn = segment(to_b, (1000, 80), 0x02);
    a.send(&syn);
    assert_eq!(decider.decide(boot(41), true).port, Some(80));
    decider.decide(boot(42), true);
    assert_eq!(b.receive(), syn);
    for (guest, flags) in [(1, 0x12), (0, 0x10), (1, 0x18)] {
        let (way, ports) = [(to_b, (1000, 80)), (to_a, (80, 1000))][guest];
        let sent = segment(way, ports, flags);
        let [from, to] = if guest == 0 {
            [&mut a, &mut b]
        } else {
            [&mut b, &mut a]
        };
        from.send(&sent);
        assert_eq!(to.receive(), sent);
    }
}

/// Known attack: a frame is changed in the guest's RAM between its judgement and its delivery.
#[test]
fn what_was_judged_is_what_arrives() {
    let daemon = Daemon::start();
    let decider = Decider::new(&daemon);
    let (mut a, mut b) = two(&daemon);
    let sent = a.send_udp(b.station(), (1000, 53), b"harmless");
    let question = decider.question();
    for index in 0..32 {
        let buffer = GuestAddress(a.tx.buffer(index));
        a.memory.write_slice(&[0xff; 256], buffer).unwrap();
    }
    decider.answer(&question, true, false);
    decider.decide(boot(42), true);
    assert_eq!(b.receive(), sent);
}

#[test]
fn broken_chains_are_given_back_and_the_rest_works() {
    let daemon = Daemon::start();
    let decider = Decider::new(&daemon);
    let (mut a, mut b) = two(&daemon);
    let broken = [
        (u64::MAX - 3, 100, 0, 0),
        (0x10_0000_0000, 100, 0, 0),
        (0, u32::MAX, 0, 0),
        (0, 11, 0, 0),
        (0x1_0000, 0, 1, 0),
        (0x1_0000, 60, 1, 0),
        (0x3f_fff0, 0x100, 0, 0),
        (0x3f_0000, 0x1_0000, 4, 0),
        (0, 15, 4, 0),
    ];
    for (address, len, flags, next) in broken {
        a.tx.describe(&a.memory, 0, address, len, flags, next);
        a.tx.offer(&a.memory, 0);
        a.tx.wait_until_used(&a.memory);
    }
    let sent = a.send_udp(b.station(), (1000, 53), b"whole");
    decider.decide(boot(41), true);
    decider.decide(boot(42), true);
    assert_eq!(b.receive(), sent);
}

#[test]
fn fragments_options_and_tags_are_carried_by_nobody() {
    let daemon = Daemon::start();
    let decider = Decider::new(&daemon);
    let (mut a, mut b) = two(&daemon);
    let (from, to) = (a.station(), b.station());
    let mut fragment = ipv4(from, to, 17, &udp(1000, 53, b"part"));
    fragment[20] = 0x20;
    super::sample::seal(&mut fragment[14..34]);
    a.send(&fragment);
    let mut options = ipv4(from, to, 17, &[0, 0, 0, 0]);
    options[14] = 0x46;
    a.send(&options);
    let plain = ipv4(from, to, 17, &udp(1000, 53, b"tagged"));
    let tagged = [&plain[..12], &[0x81, 0, 0, 1], &plain[12..]].concat();
    a.send(&tagged);
    a.send(&ipv6(
        from,
        to,
        44,
        &[17, 0, 0, 1, 0, 0, 0, 1, 3, 232, 0, 53, 0, 8, 0, 0],
    ));
    a.send(&ipv6(
        from,
        to,
        43,
        &[17, 0, 0, 0, 0, 0, 0, 0, 3, 232, 0, 53, 0, 8, 0, 0],
    ));
    a.send(&plain[..30]);
    // The first question is about what came last.
    let sent = a.send_udp(to, (1000, 7), b"plain");
    assert_eq!(decider.decide(boot(41), true).port, Some(7));
    decider.decide(boot(42), true);
    assert_eq!(b.receive(), sent);
}

#[test]
fn isolation_cuts_a_guest_both_ways_at_once() {
    let daemon = Daemon::start();
    let mut decider = Decider::new(&daemon);
    let (mut a, mut b) = two(&daemon);
    a.send_udp(b.station(), (1000, 53), b"before");
    decider.decide(boot(41), true);
    decider.decide(boot(42), true);
    b.receive();
    let isolate = |isolated| ToDevices::Isolate {
        guest: boot(42),
        isolated,
    };
    decider.say(&isolate(true));
    // Of the same link: isolation is heard before this is in force.
    decider.enter(boot(42));
    a.send_udp(b.station(), (1000, 53), b"lost");
    b.send_udp(a.station(), (53, 1000), b"lost");
    a.expect_silence(b.station());
    // Answered in a later turn of its thread's, before which all was handed over; and then the other's looked at it.
    a.expect_silence(b.station());
    decider.enter(boot(42));
    decider.say(&isolate(false));
    decider.enter(boot(42));
    let sent = a.send_udp(b.station(), (1000, 53), b"after");
    decider.decide(boot(42), true);
    assert_eq!(b.receive(), sent);
}
