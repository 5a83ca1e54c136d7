use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::net::sample::{arp_request, ethernet, ipv4, ipv6, seal, station, tcp, udp};

fn refused(frame: &[u8]) -> FrameError {
    Frame::parse(frame).unwrap_err()
}

#[test]
fn what_is_carried_is_read_as_it_was_sent() {
    let (a, b) = (station(1), station(2));
    let mut syn = tcp(1000, 80, Flags::SYN, b"");
    syn[4..12].copy_from_slice(&[1, 2, 3, 4, 0xff, 0xfe, 0xfd, 0xfc]);
    let frame = Frame::parse(&ipv4(a, b, 6, &syn)).unwrap();
    assert_eq!((frame.source, frame.destination), (Mac(a.mac), Mac(b.mac)));
    let ip = frame.ip().unwrap();
    assert_eq!(
        (ip.source, ip.destination),
        (IpAddr::V4(a.v4), IpAddr::V4(b.v4))
    );
    assert_eq!((ip.protocol, ip.transport_at, ip.end), (6, 34, 54));
    let syn = Transport::Tcp {
        source: 1000,
        destination: 80,
        sequence: 0x0102_0304,
        acknowledgement: 0xfffe_fdfc,
        flags: Flags(Flags::SYN),
        header: 20,
    };
    assert_eq!(ip.transport, syn);
    // Behind a hop-by-hop and a destination options header.
    let chain = [[60, 0, 1, 4, 0, 0, 0, 0], [17, 0, 1, 4, 0, 0, 0, 0]].concat();
    let body = [chain, udp(1, 2, b"data")].concat();
    let frame = Frame::parse(&ipv6(a, b, 0, &body)).unwrap();
    let ip = frame.ip().unwrap();
    assert_eq!(
        (ip.source, ip.protocol, ip.transport_at),
        (IpAddr::V6(a.v6), 17, 70)
    );
    let frame = Frame::parse(&arp_request(a, b.v4)).unwrap();
    let Body::Arp(arp) = frame.body else {
        panic!("{frame:?}")
    };
    assert_eq!(
        (arp.sender, arp.sender_ip, arp.target_ip),
        (Mac(a.mac), a.v4, b.v4)
    );
    let Body::Arp(answer) = Frame::parse(&arp.answered_by(Mac(b.mac))).unwrap().body else {
        panic!("no answer")
    };
    assert_eq!(
        (answer.operation, answer.sender, answer.sender_ip),
        (ArpOperation::Reply, Mac(b.mac), b.v4)
    );
}

#[test]
fn what_cannot_be_judged_is_refused() {
    let (a, b) = (station(1), station(2));
    let plain = ipv4(a, b, 17, &udp(1, 2, &[7; 40]));
    assert!(Frame::parse(&plain).is_ok());
    let changed = |at: usize, byte: u8, sealed: bool| {
        let mut frame = plain.clone();
        frame[at] = byte;
        if sealed {
            seal(&mut frame[14..34]);
        }
        refused(&frame)
    };
    assert_eq!(changed(12, 0x81, false), FrameError::Tagged);
    assert_eq!(changed(12, 0x88, false), FrameError::EtherType(0x8800));
    assert_eq!(changed(14, 0x46, true), FrameError::Options);
    assert_eq!(changed(14, 0x65, true), FrameError::Version(6));
    // More fragments; an offset; the smallest one.
    for (at, byte) in [(20, 0x20), (20, 0x1f), (21, 1)] {
        assert_eq!(changed(at, byte, true), FrameError::Fragment);
    }
    assert_eq!(changed(22, 63, false), FrameError::Checksum);
    assert_eq!(changed(17, 200, true), FrameError::Length);
    assert_eq!(changed(38, 1, false), FrameError::Transport(17));
    let trailing = [plain.as_slice(), b"hidden"].concat();
    assert_eq!(refused(&trailing), FrameError::Trailer);
    // Padding to Ethernet's least size is none of that.
    let mut short = ipv4(a, b, 17, &udp(1, 2, b""));
    short.resize(60, 0);
    assert!(Frame::parse(&short).is_ok());
    for next in [43, 44, 51, 59, 135] {
        let frame = ipv6(
            a,
            b,
            next,
            &[17, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0, 8, 0, 0],
        );
        let expected = if next == 44 {
            FrameError::Fragment
        } else {
            FrameError::Extension(next)
        };
        assert_eq!(refused(&frame), expected);
    }
    // Hop-by-hop that is not the first; too many; ever so many.
    let late = [[0, 0, 1, 4, 0, 0, 0, 0], [17, 0, 1, 4, 0, 0, 0, 0]].concat();
    assert_eq!(refused(&ipv6(a, b, 60, &late)), FrameError::Extension(0));
    let chain = [60, 0, 1, 4, 0, 0, 0, 0].repeat(20);
    assert_eq!(refused(&ipv6(a, b, 60, &chain)), FrameError::ExtensionChain);
    assert_eq!(
        refused(&ipv4(a, b, 6, &tcp(1, 2, 0, b"")[..13])),
        FrameError::Truncated
    );
    let mut overlong = tcp(1, 2, Flags::SYN, b"");
    overlong[12] = 0xf0;
    assert_eq!(refused(&ipv4(a, b, 6, &overlong)), FrameError::Transport(6));
    // One version's ICMP in the other.
    assert_eq!(
        refused(&ipv4(a, b, 58, &[128; 16])),
        FrameError::Transport(58)
    );
    assert_eq!(refused(&ethernet(a, b, 0x0806, &[0; 28])), FrameError::Arp);
    // A neighbour's message with two stations, and with an option of no size.
    let ask = |options: &[u8]| {
        let body = [
            [135, 0, 0, 0, 0, 0, 0, 0].as_slice(),
            &b.v6.octets(),
            options,
        ]
        .concat();
        refused(&ipv6(a, b, 58, &body))
    };
    assert_eq!(
        ask(&[1, 1, 2, 0, 0, 0, 7, 1].repeat(2)),
        FrameError::Neighbour
    );
    assert_eq!(ask(&[9, 0, 0, 0, 0, 0, 0, 0]), FrameError::Neighbour);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0..4_usize) {
        let mut bytes = bytes;
        if let Some(place) = bytes.get_mut(12..14) {
            place.copy_from_slice(&[[8, 0], [8, 6], [0x86, 0xdd], [0x81, 0]][kind]);
        }
        if let Ok(frame) = Frame::parse(&bytes)
            && let Some(ip) = frame.ip()
        {
            prop_assert!(ip.transport_at <= ip.end && ip.end <= bytes.len());
        }
    }

    /// Whatever part of a good frame is missing, or is another: nothing outside of it is taken for a part of it.
    #[test]
    fn a_part_of_a_frame_is_none(cut in 0..62_usize, data in prop::collection::vec(any::<u8>(), 20..50)) {
        let frame = ipv4(station(1), station(2), 17, &udp(1, 2, &data));
        prop_assert!(Frame::parse(&frame[..cut.min(frame.len() - 1)]).is_err());
    }
}
