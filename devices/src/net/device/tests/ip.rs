//! Known attacks: packets that two readers read differently.

use super::lab::Lab;
use crate::net::refusals::Reason;
use crate::net::sample::{ipv4, ipv6, seal, station, tcp, udp};

/// A fragment of IPv4: its flags and offset, in units of 8 bytes.
fn v4_fragment(flags: u16, offset: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = ipv4(station(1), station(2), 6, body);
    frame[18..20].copy_from_slice(&[0x12, 0x34]);
    frame[20..22].copy_from_slice(&(flags | offset).to_be_bytes());
    seal(&mut frame[14..34]);
    frame
}

/// Likewise of IPv6, of protocol 6.
fn v6_fragment(more: bool, offset: u16, body: &[u8]) -> Vec<u8> {
    let place = (offset << 3 | u16::from(more)).to_be_bytes();
    let header = [[6, 0].as_slice(), &place, &[0, 0, 0x12, 0x34]].concat();
    let (from, to) = (station(1), station(2));
    ipv6(from, to, 44, &[header.as_slice(), body].concat())
}

const MORE: u16 = 0x2000;

#[test]
fn tiny_fragments() {
    let mut lab = Lab::new();
    let segment = tcp(1000, 80, 2, b"data");
    // The ports alone; not even these; the flags in the second one (RFC 1858).
    for size in [8, 1, 16] {
        lab.blocks(&v4_fragment(MORE, 0, &segment[..size]), Reason::Fragment);
        lab.blocks(&v6_fragment(true, 0, &segment[..size]), Reason::Fragment);
    }
    lab.blocks(&v4_fragment(0, 1, &segment[8..]), Reason::Fragment);
    lab.blocks(&v6_fragment(false, 1, &segment[8..]), Reason::Fragment);
    // One that is all of its packet: as such it would be let by some (RFC 6946).
    lab.blocks(&v6_fragment(false, 0, &segment), Reason::Fragment);
    // The bit that is to be 0 makes no fragment (RFC 791), and of "don't fragment" it says that it is none.
    lab.passes(1, 2, &v4_fragment(0x4000, 0, &segment));
}

#[test]
fn overlapping_fragments() {
    let mut lab = Lab::new();
    let (harmless, forged) = (tcp(1000, 80, 2, b"12345678"), tcp(1000, 22, 2, b"12345678"));
    for (first, second) in [(0, 1), (0, 2), (1, 2), (2, 1)] {
        lab.blocks_all(
            &[
                v4_fragment(MORE, first, &harmless[..24]),
                v4_fragment(0, second, &forged[..24]),
                v6_fragment(true, first, &harmless[..24]),
                v6_fragment(false, second, &forged[..24]),
            ],
            Reason::Fragment,
        );
    }
    // Past the end of any packet: the ping of death.
    lab.blocks(&v4_fragment(0, 0x1fff, &[0; 64]), Reason::Fragment);
    lab.blocks(&v6_fragment(false, 0x1fff, &[0; 64]), Reason::Fragment);
}

#[test]
fn fragments_of_every_other_protocol() {
    let mut lab = Lab::new();
    for protocol in [1, 17, 47, 50, 255] {
        let mut frame = v4_fragment(MORE, 0, &[0; 32]);
        frame[23] = protocol;
        seal(&mut frame[14..34]);
        lab.blocks(&frame, Reason::Fragment);
    }
}

/// One header of that many units of 8 bytes behind the first, padded.
fn padded(next: u8, units: u8) -> Vec<u8> {
    let size = 6 + 8 * usize::from(units);
    let mut header = vec![next, units];
    let mut left = size;
    while left > 0 {
        let chunk = left.clamp(2, 200) - 2;
        header.extend([1, u8::try_from(chunk).unwrap()]);
        header.extend(vec![0; chunk]);
        left -= chunk + 2;
        if left == 1 {
            header.push(0);
            left = 0;
        }
    }
    header
}

#[test]
fn ipv6_extension_header_chains() {
    let (own, to) = (station(1), station(2));
    let mut lab = Lab::new();
    let datagram = udp(1000, 53, b"data");
    let mut blocks = |first: u8, headers: &[u8], reason| {
        let frame = ipv6(own, to, first, &[headers, &datagram].concat());
        lab.blocks(&frame, reason);
    };
    // Repeated; without end; long ones.
    blocks(
        60,
        &[padded(60, 0), padded(17, 0)].concat(),
        Reason::ExtensionChain,
    );
    let endless = [padded(60, 0).repeat(100), padded(17, 0)].concat();
    blocks(60, &endless, Reason::ExtensionChain);
    blocks(60, &padded(17, 40), Reason::ExtensionChain);
    // Hop-by-hop options elsewhere than first.
    blocks(
        0,
        &[padded(0, 0), padded(17, 0)].concat(),
        Reason::ExtensionHeader,
    );
    blocks(
        60,
        &[padded(0, 0), padded(17, 0)].concat(),
        Reason::ExtensionHeader,
    );
    // Routing headers, of any type; authentication; none at all; those that nobody knows.
    for kind in [0, 2, 3, 4] {
        blocks(43, &[17, 0, kind, 1, 0, 0, 0, 0], Reason::ExtensionHeader);
    }
    for kind in [51, 59, 135, 139, 140, 253, 254] {
        blocks(kind, &padded(17, 0), Reason::ExtensionHeader);
        let behind = [padded(kind, 0), padded(17, 0)].concat();
        blocks(60, &behind, Reason::ExtensionHeader);
    }
    // A fragment behind others.
    let fragment = [padded(44, 0).as_slice(), &[17, 0, 0, 1, 0, 0, 0, 1]].concat();
    blocks(0, &fragment, Reason::Fragment);
    // Longer than the packet.
    blocks(60, &[17, 255, 1, 4, 0, 0, 0, 0], Reason::Truncated);
}

#[test]
fn ipv6_options_that_change_the_packet() {
    let (own, to) = (station(1), station(2));
    let mut lab = Lab::new();
    let datagram = udp(1000, 53, b"data");
    let home = [[17, 2, 1, 2, 0, 0, 0xc9, 16].as_slice(), &[0xfd; 16]].concat();
    for (first, header) in [
        (60, home.as_slice()),
        // A jumbo payload, an encapsulation limit, an unknown one to be skipped.
        (0, &[17, 0, 0xc2, 4, 0, 1, 0, 0]),
        (60, &[17, 0, 4, 1, 0, 1, 1, 0]),
        (60, &[17, 0, 0x1e, 4, 1, 2, 3, 4]),
        // Routers are told so by the other header.
        (60, &[17, 0, 5, 2, 0, 0, 1, 0]),
        // Data in the padding.
        (60, &[17, 0, 1, 4, b'd', b'a', b't', b'a']),
    ] {
        let frame = ipv6(own, to, first, &[header, &datagram].concat());
        lab.blocks(&frame, Reason::ExtensionHeader);
    }
    // An option past its header's end.
    let torn = ipv6(
        own,
        to,
        60,
        &[[17, 0, 1, 9, 0, 0, 0, 0].as_slice(), &datagram].concat(),
    );
    lab.blocks(&torn, Reason::Truncated);
    let padded = [padded(60, 0), padded(17, 0), datagram].concat();
    lab.passes(1, 2, &ipv6(own, to, 0, &padded));
}

#[test]
fn ipv4_options() {
    let (own, to) = (station(1), station(2));
    let mut lab = Lab::new();
    for options in [
        // Loose and strict source routes, record route, timestamps, router alert, the end at once.
        [0x83, 7, 4, 10, 77, 0, 2, 0].as_slice(),
        &[0x89, 7, 4, 10, 77, 0, 2, 0],
        &[7, 7, 4, 0, 0, 0, 0, 0],
        &[68, 8, 5, 0, 0, 0, 0, 0],
        &[0x94, 4, 0, 0],
        &[0, 0, 0, 0],
        &[0; 40],
    ] {
        let body = [options, &udp(1000, 53, b"data")].concat();
        let mut frame = ipv4(own, to, 17, &body);
        frame[14] = 0x45 + u8::try_from(options.len() / 4).unwrap();
        seal(&mut frame[14..34 + options.len()]);
        lab.blocks(&frame, Reason::IpOptions);
    }
}

#[test]
fn truncated_frames() {
    let (own, to) = (station(1), station(2));
    let mut lab = Lab::new();
    let datagram = udp(1000, 53, b"data");
    for whole in [
        ipv4(own, to, 17, &datagram),
        ipv6(own, to, 17, &datagram),
        ipv4(own, to, 6, &tcp(1000, 80, 2, b"")),
        ipv6(own, to, 6, &tcp(1000, 80, 2, b"")),
        crate::net::sample::arp_request(own, to.v4),
    ] {
        for size in 0..whole.len() {
            lab.blocks(&whole[..size], Reason::Truncated);
        }
    }
}

#[test]
fn frames_that_contradict_their_headers() {
    let (own, to) = (station(1), station(2));
    let mut lab = Lab::new();
    let plain = ipv4(own, to, 17, &udp(1000, 53, &[0; 40]));
    let changed = |at: usize, value: u8| {
        let mut frame = plain.clone();
        frame[at] = value;
        seal(&mut frame[14..34]);
        frame
    };
    // Data behind the packet's end.
    let trailing = [plain.as_slice(), b"behind"].concat();
    lab.blocks(&trailing, Reason::Trailer);
    // Another version, a header of less than 20 bytes, a packet shorter than its header.
    lab.blocks(&changed(14, 0x65), Reason::IpHeader);
    lab.blocks(&changed(14, 0x44), Reason::Truncated);
    lab.blocks(&changed(17, 19), Reason::Truncated);
    let mut unsealed = plain.clone();
    unsealed[24] ^= 1;
    lab.blocks(&unsealed, Reason::IpHeader);
    // A datagram of another length than its packet; a TCP header of less than 20 bytes, or more than there are.
    lab.blocks(&changed(39, 47), Reason::TransportHeader);
    lab.blocks(&changed(39, 49), Reason::TransportHeader);
    for offset in [0x00, 0x40, 0xf0] {
        let mut segment = tcp(1000, 80, 2, b"");
        segment[12] = offset;
        lab.blocks(&ipv4(own, to, 6, &segment), Reason::TransportHeader);
    }
    // The messages of one version in packets of the other.
    let echo = [8, 0, 0, 0, 0, 7, 0, 1];
    lab.blocks(&ipv4(own, to, 58, &echo), Reason::TransportHeader);
    lab.blocks(&ipv6(own, to, 1, &echo), Reason::TransportHeader);
}

#[test]
fn oversized_frames() {
    let (own, to) = (station(1), station(2));
    let mut lab = Lab::new();
    // 20 and 8 bytes of headers, 1500 of MTU.
    let of = |size: usize| ipv4(own, to, 17, &udp(1000, 53, &vec![0; size - 28]));
    lab.blocks(&of(1501), Reason::Oversized);
    lab.blocks(&of(9000), Reason::Oversized);
    lab.blocks(&of(0xffff), Reason::Oversized);
    lab.blocks(&vec![0; 14 + 0xffff + 1], Reason::Oversized);
    lab.blocks(&vec![0; 200 << 10], Reason::Oversized);
    lab.passes(1, 2, &of(1500));
}

/// Known attack: a port that a rule denies is reached by a protocol whose ports nobody looks at.
#[test]
fn protocols_with_ports_are_asked_about_by_these() {
    // DCCP, SCTP, UDP-Lite: both ports come first.
    for (protocol, least) in [(33, 12), (132, 12), (136, 8)] {
        let mut lab = Lab::new();
        lab.is_exact = true;
        lab.policy = Box::new(|question| Some(question.flow.port != Some(80)));
        let packet = |port: u16, size: usize| {
            let ports = [1000_u16.to_be_bytes(), port.to_be_bytes()].concat();
            let body = [ports, vec![0; size - 4]].concat();
            ipv4(station(1), station(2), protocol, &body)
        };
        lab.passes(1, 2, &packet(90, least));
        lab.send(1, &packet(80, least));
        let asked = lab.asked.last().unwrap().flow;
        assert_eq!((asked.protocol, asked.port), (protocol, Some(80)));
        assert!(lab.received(2).is_empty());
        lab.blocks(&packet(90, least - 1), Reason::TransportHeader);
    }
}
