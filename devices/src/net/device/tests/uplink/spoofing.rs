//! Known attacks: somebody outside of the host says that he is who he is not.

use std::net::Ipv4Addr;

use bartizan_local::flow::Direction;

use crate::net::device::tests::lab::{Lab, neighbour, settings};
use crate::net::refusals::Reason;
use crate::net::sample::{Station, arp_request, ethernet, ipv4, ipv6, seal, station, tcp, udp};
use crate::net::uplink::GATE;

/// Who attacks from outside, and a guest.
fn lab() -> (Lab, Station, Station) {
    (Lab::with_uplink(2, settings()), neighbour(200), station(1))
}

fn nd(from: Station, to: Station, kind: u8, target: Station, told: [u8; 6]) -> Vec<u8> {
    let message = [
        [kind, 0, 0, 0, 0x20, 0, 0, 0].as_slice(),
        &target.v6.octets(),
        &[if kind == 135 { 1 } else { 2 }, 1],
        &told,
    ]
    .concat();
    ipv6(from, to, 58, &message)
}

#[test]
fn mac_spoofing_from_outside() {
    let (mut lab, own, to) = lab();
    for mac in [station(2).mac, to.mac, GATE.0, [0; 6], [0xff; 6]] {
        let frame = ipv4(Station { mac, ..own }, to, 17, &udp(1000, 53, b"forged"));
        lab.shuts_out(&frame, Reason::SpoofedMac);
    }
    lab.arrive(&[ipv4(own, to, 17, &udp(1000, 53, b"own"))]);
    assert_eq!(lab.received(1).len(), 1);
}

#[test]
fn ip_spoofing_from_outside() {
    let (mut lab, own, to) = lab();
    let datagram = udp(1000, 53, b"forged");
    for v4 in [
        station(2).v4,
        to.v4,
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::BROADCAST,
        Ipv4Addr::new(224, 0, 0, 1),
        Ipv4Addr::new(169, 254, 169, 254),
    ] {
        let frame = ipv4(Station { v4, ..own }, to, 17, &datagram);
        lab.shuts_out(&frame, Reason::SpoofedAddress);
    }
    for v6 in [
        "::",
        "::1",
        "ff02::1",
        "::ffff:10.77.0.2",
        "fd77::2",
        "fd77::1",
    ] {
        let v6 = v6.parse().unwrap();
        let frame = ipv6(Station { v6, ..own }, to, 17, &datagram);
        lab.shuts_out(&frame, Reason::SpoofedAddress);
    }
}

#[test]
fn arp_spoofing_from_outside() {
    let (mut lab, own, to) = lab();
    let guest = station(2);
    let reply = |mut request: Vec<u8>| {
        request[21] = 2;
        request
    };
    let v4 = |v4| Station { v4, ..own };
    for forged in [
        arp_request(v4(guest.v4), to.v4),
        arp_request(v4(to.v4), to.v4),
        reply(arp_request(v4(guest.v4), to.v4)),
        reply(arp_request(v4(guest.v4), guest.v4)),
    ] {
        lab.shuts_out(&forged, Reason::SpoofedArp);
    }
    let mut told = reply(arp_request(own, own.v4));
    told[22..28].copy_from_slice(&neighbour(201).mac);
    lab.shuts_out(&told, Reason::SpoofedArp);
}

#[test]
fn nd_spoofing_from_outside() {
    let (mut lab, own, to) = lab();
    let guest = station(2);
    let as_guest = Station {
        v6: guest.v6,
        ..own
    };
    for forged in [
        nd(own, to, 136, guest, own.mac),
        nd(as_guest, to, 136, guest, own.mac),
        nd(as_guest, to, 136, own, own.mac),
        nd(as_guest, to, 135, to, own.mac),
        nd(own, to, 135, to, guest.mac),
        nd(own, to, 136, own, guest.mac),
    ] {
        lab.shuts_out(&forged, Reason::SpoofedNeighbour);
    }
    // From another link, by its hops.
    let mut routed = nd(own, to, 135, to, own.mac);
    routed[21] = 64;
    lab.shuts_out(&routed, Reason::SpoofedNeighbour);
}

#[test]
fn posing_as_a_router_or_a_dhcp_server_from_outside() {
    let (mut lab, own, to) = lab();
    let everybody = Station {
        mac: [0xff; 6],
        v4: Ipv4Addr::BROADCAST,
        ..to
    };
    let advertisement = [134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    lab.shuts_out(&ipv6(own, to, 58, &advertisement), Reason::SpoofedRouter);
    let redirect = [[137, 0, 0, 0].as_slice(), &[0; 36]].concat();
    lab.shuts_out(&ipv6(own, to, 58, &redirect), Reason::SpoofedRouter);
    let redirect = [5, 1, 0, 0, 10, 77, 0, 1, 0, 0, 0, 0];
    lab.shuts_out(&ipv4(own, to, 1, &redirect), Reason::SpoofedRouter);
    let advertisement = [9, 0, 0, 0, 1, 2, 0, 30, 10, 77, 0, 1, 0, 0, 0, 0];
    lab.shuts_out(&ipv4(own, to, 1, &advertisement), Reason::SpoofedRouter);
    for to in [to, everybody] {
        for ports in [(67, 68), (67, 1000), (1000, 68)] {
            let frame = ipv4(own, to, 17, &udp(ports.0, ports.1, &[2; 300]));
            lab.shuts_out(&frame, Reason::SpoofedDhcp);
        }
    }
    let frame = ipv6(own, to, 17, &udp(547, 546, &[2; 300]));
    lab.shuts_out(&frame, Reason::SpoofedDhcp);
}

#[test]
fn what_cannot_be_judged_from_outside() {
    let (mut lab, own, to) = lab();
    let plain = ipv4(own, to, 17, &udp(1000, 53, b"tagged"));
    for tag in [[0x81, 0, 0, 1], [0x88, 0xa8, 0, 1]] {
        let tagged = [&plain[..12], &tag, &plain[12..]].concat();
        lab.shuts_out(&tagged, Reason::VlanTag);
    }
    lab.shuts_out(&ethernet(own, to, 0x88cc, &[0; 46]), Reason::EtherType);
    let mut fragment = plain.clone();
    fragment[20] = 0x20;
    seal(&mut fragment[14..34]);
    lab.shuts_out(&fragment, Reason::Fragment);
    lab.shuts_out(&plain[..20], Reason::Truncated);
    lab.shuts_out(&[&plain[..], &[0; 60]].concat(), Reason::Trailer);
    lab.shuts_out(&[], Reason::Truncated);
    // Longer than the guest's MTU.
    let long = ipv4(own, to, 17, &udp(1000, 53, &[0; 1500]));
    lab.shuts_out(&long, Reason::Oversized);
}

#[test]
fn frames_from_outside_for_several_stations_or_for_none() {
    let (mut lab, own, to) = lab();
    let datagram = udp(1000, 53, b"data");
    let of = |mac, v4| Station { mac, v4, ..to };
    for to in [
        of([0xff; 6], to.v4),
        of([0xff; 6], Ipv4Addr::BROADCAST),
        of([1, 0, 0x5e, 0, 0, 251], Ipv4Addr::new(224, 0, 0, 251)),
        // The MAC of one guest, the address of another, or of nobody.
        of(to.mac, station(2).v4),
        of(to.mac, own.v4),
        of(neighbour(201).mac, to.v4),
        of(GATE.0, to.v4),
    ] {
        lab.shuts_out(&ipv4(own, to, 17, &datagram), Reason::Nobody);
    }
}

/// Known attack: a header asks the receiver's kernel for work outside of the frame.
#[test]
fn headers_from_outside_that_are_not_true() {
    let (mut lab, own, to) = lab();
    let frame = ipv4(own, to, 6, &tcp(1000, 80, 2, b""));
    for header in [
        // A cut without a checksum; a checksum that is another header's; one outside of the frame.
        [0, 1, 54, 0, 100, 0, 34, 0, 16, 0, 0, 0],
        [1, 0, 0, 0, 0, 0, 34, 0, 6, 0, 0, 0],
        [1, 0, 0, 0, 0, 0, 0xff, 0xff, 16, 0, 0, 0],
        // Pieces of no byte; cut as of another version; as of UDP.
        [1, 1, 54, 0, 0, 0, 34, 0, 16, 0, 0, 0],
        [1, 4, 54, 0, 100, 0, 34, 0, 16, 0, 0, 0],
        [1, 3, 54, 0, 100, 0, 34, 0, 16, 0, 0, 0],
    ] {
        let of = |lab: &Lab| {
            let refusals = lab.outside().core.refusals();
            refusals.of(Direction::Ingress, Reason::VirtioHeader)
        };
        let before = of(&lab);
        lab.arrive_with(&header, &frame);
        assert_eq!(of(&lab) - before, 1, "{header:?}");
        assert!(lab.received(1).is_empty() && lab.asked.is_empty());
    }
}
