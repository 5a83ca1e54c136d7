//! Known attacks: a guest says that it is another.

use std::net::Ipv4Addr;

use super::lab::Lab;
use crate::net::refusals::Reason;
use crate::net::sample::{Station, arp_request, ethernet, ipv4, ipv6, station, udp};

/// The first guest, the second, and one that there is not.
fn stations() -> [Station; 3] {
    [station(1), station(2), station(3)]
}

/// As the first guest, but for what is told.
fn with_mac(mac: [u8; 6]) -> Station {
    Station { mac, ..station(1) }
}

fn with_ip(other: Station) -> Station {
    Station {
        mac: station(1).mac,
        ..other
    }
}

fn neighbour(from: Station, to: Station, kind: u8, target: Station, station: [u8; 6]) -> Vec<u8> {
    let option = if kind == 135 { 1 } else { 2 };
    let message = [
        [kind, 0, 0, 0, 0x20, 0, 0, 0].as_slice(),
        &target.v6.octets(),
        &[option, 1],
        &station,
    ]
    .concat();
    ipv6(from, to, 58, &message)
}

#[test]
fn mac_spoofing() {
    let [own, to, other] = stations();
    let mut lab = Lab::new();
    for mac in [other.mac, to.mac, [0; 6], [0xff; 6]] {
        let frame = ipv4(with_mac(mac), to, 17, &udp(1000, 53, b"forged"));
        lab.blocks(&frame, Reason::SpoofedMac);
    }
    lab.blocks(&arp_request(with_mac(to.mac), to.v4), Reason::SpoofedMac);
    lab.passes(1, 2, &ipv4(own, to, 17, &udp(1000, 53, b"own")));
}

#[test]
fn ip_spoofing() {
    let [own, to, other] = stations();
    let mut lab = Lab::new();
    let datagram = udp(1000, 53, b"forged");
    for v4 in [
        other.v4,
        to.v4,
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::BROADCAST,
    ] {
        let frame = ipv4(Station { v4, ..own }, to, 17, &datagram);
        lab.blocks(&frame, Reason::SpoofedAddress);
    }
    for v6 in [
        other.v6,
        to.v6,
        "::".parse().unwrap(),
        "::1".parse().unwrap(),
    ] {
        let frame = ipv6(Station { v6, ..own }, to, 17, &datagram);
        lab.blocks(&frame, Reason::SpoofedAddress);
    }
    lab.passes(1, 2, &ipv6(own, to, 17, &datagram));
}

#[test]
fn arp_spoofing() {
    let [own, to, other] = stations();
    let mut lab = Lab::new();
    let reply = |mut request: Vec<u8>| {
        request[21] = 2;
        request
    };
    for forged in [
        arp_request(with_ip(other), to.v4),
        arp_request(with_ip(to), to.v4),
        reply(arp_request(with_ip(other), other.v4)),
        reply(arp_request(with_ip(to), own.v4)),
    ] {
        lab.blocks(&forged, Reason::SpoofedArp);
    }
    // In its own name, at another station's MAC.
    let mut told = reply(arp_request(own, own.v4));
    told[22..28].copy_from_slice(&to.mac);
    lab.blocks(&told, Reason::SpoofedArp);
    // Whatever it tells of itself reaches nobody either.
    lab.send(1, &reply(arp_request(own, own.v4)));
    assert!(lab.received(2).is_empty());
}

#[test]
fn nd_spoofing() {
    let [own, to, other] = stations();
    let mut lab = Lab::new();
    for forged in [
        neighbour(own, to, 136, other, own.mac),
        neighbour(own, to, 136, to, own.mac),
        neighbour(own, to, 136, own, other.mac),
        neighbour(own, to, 135, to, other.mac),
        neighbour(with_ip(other), to, 135, to, own.mac),
        neighbour(with_ip(other), to, 136, own, own.mac),
    ] {
        lab.blocks(&forged, Reason::SpoofedNeighbour);
    }
    // From another link, by its hops.
    let mut routed = neighbour(own, to, 136, own, own.mac);
    routed[21] = 64;
    lab.blocks(&routed, Reason::SpoofedNeighbour);
    // Two stations in one message.
    let twice = [
        neighbour(own, to, 136, own, own.mac)
            .split_off(54)
            .as_slice(),
        &[2, 1],
        &other.mac,
    ]
    .concat();
    lab.blocks(&ipv6(own, to, 58, &twice), Reason::NeighbourMalformed);
    // An option without a size.
    let mut endless = neighbour(own, to, 136, own, own.mac);
    endless[79] = 0;
    lab.blocks(&endless, Reason::NeighbourMalformed);
    lab.send(1, &neighbour(own, to, 136, own, own.mac));
    assert!(lab.received(2).is_empty());
}

#[test]
fn posing_as_a_router() {
    let [own, to, _] = stations();
    let mut lab = Lab::new();
    let advertisement = [134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    lab.blocks(&ipv6(own, to, 58, &advertisement), Reason::SpoofedRouter);
    let redirect = [[137, 0, 0, 0].as_slice(), &[0; 36]].concat();
    lab.blocks(&ipv6(own, to, 58, &redirect), Reason::SpoofedRouter);
    let quoted = ipv4(to, own, 17, &udp(53, 1000, b"")).split_off(14);
    let redirect = [[5, 1, 0, 0, 10, 77, 0, 1].as_slice(), &quoted].concat();
    lab.blocks(&ipv4(own, to, 1, &redirect), Reason::SpoofedRouter);
    let advertisement = [9, 0, 0, 0, 1, 2, 0, 30, 10, 77, 0, 1, 0, 0, 0, 0];
    lab.blocks(&ipv4(own, to, 1, &advertisement), Reason::SpoofedRouter);
}

#[test]
fn dhcp_spoofing() {
    let [own, to, _] = stations();
    let everybody = Station {
        mac: [0xff; 6],
        v4: Ipv4Addr::BROADCAST,
        ..to
    };
    let mut lab = Lab::new();
    let offer = [2; 300];
    for (from, ports) in [
        (own, (67, 68)),
        (own, (67, 1000)),
        (own, (1000, 68)),
        (own, (68, 68)),
        (with_ip(to), (67, 68)),
    ] {
        for to in [to, everybody] {
            let frame = ipv4(from, to, 17, &udp(ports.0, ports.1, &offer));
            lab.blocks(&frame, Reason::SpoofedDhcp);
        }
    }
    for ports in [(547, 546), (547, 1000), (1000, 546)] {
        let frame = ipv6(own, to, 17, &udp(ports.0, ports.1, &offer));
        lab.blocks(&frame, Reason::SpoofedDhcp);
    }
}

#[test]
fn frames_for_several_stations_or_for_none() {
    let [own, to, other] = stations();
    let mut lab = Lab::new();
    let datagram = udp(1000, 53, b"data");
    let of = |mac, v4| Station { mac, v4, ..to };
    for to in [
        of([0xff; 6], to.v4),
        of([0xff; 6], Ipv4Addr::BROADCAST),
        of([1, 0, 0x5e, 0, 0, 1], Ipv4Addr::new(224, 0, 0, 1)),
        of(other.mac, other.v4),
        // The MAC of one station, the address of another.
        of(to.mac, other.v4),
        of(to.mac, own.v4),
        // Itself.
        own,
    ] {
        lab.blocks(&ipv4(own, to, 17, &datagram), Reason::Nobody);
    }
    assert!(lab.received(1).is_empty());
}

#[test]
fn vlan_hopping() {
    let [own, to, _] = stations();
    let mut lab = Lab::new();
    let plain = ipv4(own, to, 17, &udp(1000, 53, b"tagged"));
    let tagged = |tags: &[u8]| [&plain[..12], tags, &plain[12..]].concat();
    for tags in [
        [0x81, 0, 0, 1].as_slice(),
        // Priority alone.
        &[0x81, 0, 0xe0, 0],
        &[0x88, 0xa8, 0, 1],
        &[0x91, 0, 0, 1],
        &[0x92, 0, 0, 1],
        // Two of them: what the first switch takes off leaves the other.
        &[0x81, 0, 0, 1, 0x81, 0, 0, 2],
        &[0x88, 0xa8, 0, 1, 0x81, 0, 0, 2],
    ] {
        lab.blocks(&tagged(tags), Reason::VlanTag);
    }
    for kind in [0x88cc, 0x8847, 0x8863, 0x05dc, 0x22f3] {
        lab.blocks(&ethernet(own, to, kind, &[0; 46]), Reason::EtherType);
    }
    lab.passes(1, 2, &plain);
}
