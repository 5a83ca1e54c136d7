//! Guests and what is outside of the host, on the way that their frames take.

mod bounds;
mod peers;
mod spoofing;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bartizan_local::flow::Direction::{Egress, Ingress};
use proptest::prelude::*;

use super::lab::{Lab, guest, neighbour, settings};
use crate::net::Fabric;
use crate::net::frame::{Arp, Body, Frame, Mac, Neighbour};
use crate::net::header::HEADER_LEN;
use crate::net::refusals::Reason;
use crate::net::sample::{Station, arp_request, interface, ipv4, ipv6, seal, station, tcp, udp};
use crate::net::uplink::{GATE, Settings, Uplink, is_outside};

/// As guests see whoever is outside.
fn gate(outside: Station) -> Station {
    Station {
        mac: GATE.0,
        ..outside
    }
}

fn out(from: u8, to: Station, data: &[u8]) -> Vec<u8> {
    ipv4(station(from), gate(to), 17, &udp(1000, 53, data))
}

/// The answer to a question of a guest's, of that station.
fn answer(question: &[u8], by: Station) -> Vec<u8> {
    let frame = Frame::parse(question).unwrap();
    match &frame.body {
        Body::Arp(arp) => arp.answered_by(Mac(by.mac)),
        Body::Ip(ip) => {
            let IpAddr::V6(asker) = ip.source else {
                panic!("{ip:?}")
            };
            Neighbour::answered_by(by.v6, Mac(by.mac), (frame.source, asker))
        }
    }
}

/// A packet of a guest's goes to a neighbour, whose address was asked for.
#[track_caller]
fn introduce(lab: &mut Lab, from: u8, to: Station) {
    lab.send(from, &out(from, to, b"first"));
    let question = Arp::question((Mac(station(from).mac), station(from).v4), to.v4);
    assert_eq!(lab.outside().received(), std::slice::from_ref(&question));
    lab.arrive(&[answer(&question, to)]);
    let first = ipv4(station(from), to, 17, &udp(1000, 53, b"first"));
    assert_eq!(lab.outside().received(), [first]);
}

fn lost(lab: &Lab, reason: Reason) -> u64 {
    lab.outside().core.refusals().of(Egress, reason)
}

#[test]
fn guests_reach_outside_as_egress_and_are_answered() {
    let (mut lab, other) = (Lab::with_uplink(2, settings()), neighbour(200));
    introduce(&mut lab, 1, other);
    let [question] = lab.asked.as_slice() else {
        panic!("{:?}", lab.asked)
    };
    assert_eq!(
        (question.guest, question.flow.direction),
        (guest(1), Egress)
    );
    assert_eq!(question.flow.peer, IpAddr::V4(other.v4));
    // Known now: nobody is asked again. The answer comes from who guests see.
    lab.send(1, &out(1, other, b"second"));
    let second = ipv4(station(1), other, 17, &udp(1000, 53, b"second"));
    assert_eq!(lab.outside().received(), [second]);
    lab.arrive(&[ipv4(other, station(1), 17, &udp(53, 1000, b"answer"))]);
    let answer = ipv4(gate(other), station(1), 17, &udp(53, 1000, b"answer"));
    assert_eq!(lab.received(1), [answer]);
    assert!(lab.received(2).is_empty());
}

#[test]
fn the_same_over_ipv6() {
    let (mut lab, other) = (Lab::with_uplink(1, settings()), neighbour(200));
    let datagram = udp(1000, 53, b"six");
    lab.send(1, &ipv6(station(1), gate(other), 17, &datagram));
    let own = (Mac(station(1).mac), station(1).v6);
    let question = Neighbour::question(own, other.v6);
    assert_eq!(lab.outside().received(), std::slice::from_ref(&question));
    // As any host sends it: the group of those whose address it could be.
    assert_eq!(question[..6], [0x33, 0x33, 0xff, 0, 0, 200]);
    lab.arrive(&[answer(&question, other)]);
    let sent = ipv6(station(1), other, 17, &datagram);
    assert_eq!(lab.outside().received(), [sent]);
}

#[test]
fn guests_are_reached_as_ingress_and_the_first_packet_waits() {
    let (mut lab, other) = (Lab::with_uplink(2, settings()), neighbour(200));
    lab.policy = Box::new(|_| None);
    let first = ipv4(other, station(1), 6, &tcp(1000, 80, 2, b""));
    lab.arrive(&[first]);
    let question = lab.asked.pop().unwrap();
    assert_eq!(
        (question.guest, question.flow.direction),
        (guest(1), Ingress)
    );
    assert_eq!(question.flow.peer, IpAddr::V4(other.v4));
    assert_eq!(question.flow.port, Some(80));
    assert!(lab.received(1).is_empty());
    lab.policy = Box::new(|_| Some(true));
    lab.answer(question);
    lab.run();
    let first = ipv4(gate(other), station(1), 6, &tcp(1000, 80, 2, b""));
    assert_eq!(lab.received(1), [first]);
    // What is denied does not come in, nor go out.
    lab.policy = Box::new(|_| Some(false));
    lab.arrive(&[ipv4(other, station(2), 6, &tcp(1000, 80, 2, b""))]);
    assert!(lab.received(2).is_empty());
    assert_eq!(lab.refused(2, Ingress, Reason::Denied), 0);
    lab.arrive(&[ipv4(other, station(2), 6, &tcp(1000, 80, 2, b""))]);
    assert_eq!(lab.refused(2, Ingress, Reason::Denied), 1);
    lab.send(2, &out(2, other, b"denied"));
    assert!(lab.outside().received().is_empty());
}

#[test]
fn either_side_finds_the_other() {
    let (mut lab, other) = (Lab::with_uplink(2, settings()), neighbour(200));
    // A guest asks who has an address outside: the gate.
    lab.send(1, &arp_request(station(1), other.v4));
    let answer = lab.received(1);
    let Body::Arp(arp) = Frame::parse(&answer[0]).unwrap().body else {
        panic!("{answer:?}")
    };
    assert_eq!((arp.sender, arp.sender_ip), (GATE, other.v4));
    // Another guest is itself.
    lab.send(1, &arp_request(station(1), station(2).v4));
    assert_eq!(lab.received(1)[0][6..12], station(2).mac);
    // Nobody outside hears of either.
    assert!(lab.outside().received().is_empty());
    // Outside asks who has a guest's address: the guest.
    lab.arrive(&[arp_request(other, station(1).v4)]);
    let answers = lab.outside().received();
    let Body::Arp(arp) = Frame::parse(&answers[0]).unwrap().body else {
        panic!("{answers:?}")
    };
    assert_eq!(
        (arp.sender, arp.target),
        (Mac(station(1).mac), Mac(other.mac))
    );
    let question = Neighbour::question((Mac(other.mac), other.v6), station(2).v6);
    lab.arrive(&[question]);
    assert_eq!(lab.outside().received()[0][6..12], station(2).mac);
    // Of others it is not this host's to tell, and no guest hears of it.
    lab.arrive(&[arp_request(other, neighbour(201).v4)]);
    assert!(lab.outside().received().is_empty());
    assert!(lab.received(1).is_empty() && lab.received(2).is_empty());
}

#[test]
fn other_networks_are_behind_the_gateway() {
    let far = Station {
        v4: Ipv4Addr::new(192, 0, 2, 7),
        ..neighbour(200)
    };
    let mut lab = Lab::with_uplink(1, settings());
    lab.send(1, &out(1, far, b"lost"));
    assert_eq!(lost(&lab, Reason::NoGateway), 1);
    let router = neighbour(254);
    let with = |gateway_mac| Settings {
        gateway: Some(router.v4),
        gateway_v6: Some("fe80::1".parse().unwrap()),
        gateway_mac,
        ..settings()
    };
    let mut lab = Lab::with_uplink(1, with(None));
    lab.send(1, &out(1, far, b"far"));
    let question = Arp::question((Mac(station(1).mac), station(1).v4), router.v4);
    assert_eq!(lab.outside().received(), std::slice::from_ref(&question));
    lab.arrive(&[answer(&question, router)]);
    let by_router = Station {
        mac: router.mac,
        ..far
    };
    let sent = ipv4(station(1), by_router, 17, &udp(1000, 53, b"far"));
    assert_eq!(lab.outside().received(), std::slice::from_ref(&sent));
    // It comes back by the gateway.
    lab.arrive(&[ipv4(by_router, station(1), 17, &udp(53, 1000, b"back"))]);
    assert_eq!(lab.received(1).len(), 1);
    // Of a configured one nobody is asked.
    let mut lab = Lab::with_uplink(1, with(Some(Mac(router.mac))));
    lab.send(1, &out(1, far, b"far"));
    assert_eq!(lab.outside().received(), [sent]);
    let far = Station {
        v6: "2001:db8::1".parse().unwrap(),
        ..far
    };
    lab.send(1, &ipv6(station(1), gate(far), 17, &udp(1000, 53, b"six")));
    let sent = lab.outside().received();
    assert_eq!(sent[0][..6], router.mac);
}

/// A launch record's own gateway stays, and one that the guest could not reach is not told.
#[test]
fn dhcp_tells_the_gateway() {
    let told = |gateway: Ipv4Addr, own: Option<Ipv4Addr>| {
        let uplink = Uplink::new(Settings {
            gateway: Some(gateway),
            ..settings()
        });
        let uplink = [Arc::new(uplink.unwrap())];
        let fabric = Arc::new(Fabric::with_uplinks(&uplink));
        let mut interface = interface(1);
        interface.ipv4.as_mut().unwrap().gateway = own;
        let plug = fabric.plug(interface).unwrap();
        plug.station().interface.ipv4.unwrap().gateway
    };
    let (router, other) = (neighbour(254).v4, neighbour(253).v4);
    assert_eq!(told(router, None), Some(router));
    assert_eq!(told(router, Some(other)), Some(other));
    assert_eq!(told(Ipv4Addr::new(10, 78, 0, 1), None), None);
}

/// What is left to be done to a packet is left to whoever gets it, both ways.
#[test]
fn checksums_and_cuts_are_left_to_the_receiver() {
    let (mut lab, other) = (Lab::with_uplink(1, settings()), neighbour(200));
    introduce(&mut lab, 1, other);
    let header = [1, 1, 54, 0, 0x64, 0, 34, 0, 16, 0, 0, 0];
    let begin = |from, to| ipv4(from, to, 6, &tcp(1000, 80, 2, b""));
    let back = ipv4(other, station(1), 6, &tcp(80, 1000, 0x12, b""));
    lab.send(1, &begin(station(1), gate(other)));
    lab.outside().received();
    lab.arrive(&[back]);
    assert_eq!(lab.received(1).len(), 1);
    let large =
        |from, to, ports: (u16, u16)| ipv4(from, to, 6, &tcp(ports.0, ports.1, 0x10, &[7; 3000]));
    let sent = large(station(1), gate(other), (1000, 80));
    lab.guest(1).offer_frame(&header, &sent);
    lab.run();
    let came = lab.outside().received_whole();
    let whole = [header.as_slice(), &large(station(1), other, (1000, 80))].concat();
    assert_eq!(came, [whole]);
    // As the kernel says it of what it has looked at.
    let checked = [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let small = ipv4(other, station(1), 6, &tcp(80, 1000, 0x10, b"small"));
    lab.arrive_with(&checked, &small);
    lab.arrive_with(&header, &large(other, station(1), (80, 1000)));
    let received = lab.received(1);
    assert_eq!(received.len(), 2);
    assert_eq!(
        received[1][14..],
        large(gate(other), station(1), (80, 1000))[14..]
    );
}

proptest! {
    /// Whatever is not quite a packet from outside for a guest: what the guest gets is one, by somebody who is no guest, and judged.
    #[test]
    fn whatever_comes_from_outside_is_judged(
        is_v6: bool,
        is_tcp: bool,
        header in prop::option::weighted(0.3, any::<[u8; HEADER_LEN]>()),
        // Where it is another, where the addresses of guests are among what it may be.
        changes in prop::collection::vec((0..70_usize, prop_oneof![any::<u8>(), 0..4_u8]), 0..4),
        cut in prop::option::weighted(0.1, 0..70_usize),
    ) {
        let mut lab = Lab::with_uplink(2, settings());
        let (other, own) = (neighbour(200), station(1));
        let body = if is_tcp { tcp(1000, 80, 2, b"whole") } else { udp(1000, 53, b"whole") };
        let protocol = if is_tcp { 6 } else { 17 };
        let of = if is_v6 { ipv6 } else { ipv4 };
        let mut frame = of(other, own, protocol, &body);
        let whole = frame.clone();
        for (place, byte) in changes {
            if let Some(place) = frame.get_mut(place) {
                *place = byte;
            }
        }
        frame.truncate(cut.unwrap_or(usize::MAX));
        if !is_v6 && frame.len() >= 34 {
            seal(&mut frame[14..34]);
        }
        lab.arrive_with(&header.unwrap_or_default(), &frame);
        let received = lab.received(1);
        let is_as_it_was = frame == whole && header.is_none();
        prop_assert!(received.len() == 1 || (received.is_empty() && !is_as_it_was));
        for received in received {
            let (sent, got) = (Frame::parse(&frame).unwrap(), Frame::parse(&received).unwrap());
            prop_assert_eq!((got.source, got.destination), (GATE, Mac(own.mac)));
            prop_assert!(lab.asked.iter().any(|question| question.flow.outside && question.guest == guest(1)));
            let ip = got.ip().unwrap();
            prop_assert!(ip.destination == IpAddr::V4(own.v4) || ip.destination == IpAddr::V6(own.v6));
            let guests = [own, station(2)].map(|one| [IpAddr::V4(one.v4), IpAddr::V6(one.v6)]);
            prop_assert!(!guests.concat().contains(&ip.source) && is_outside(ip.source));
            prop_assert_eq!(sent.ip().map(|ip| (ip.source, ip.destination)), Some((ip.source, ip.destination)));
        }
        prop_assert!(lab.received(2).is_empty());
    }
}
