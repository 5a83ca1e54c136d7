use super::*;
use crate::net::header::Place;
use crate::net::sample::{ipv4, ipv6, station, tcp, udp};

/// The checksum of a datagram is right when it, its pseudo-header and the checksum sum up to all ones (RFC 1071).
#[test]
fn a_checksum_that_the_receiver_does_not_take_open_is_filled_in() {
    let (a, b) = (station(1), station(2));
    for (bytes, at, protocol) in [
        (ipv4(a, b, 17, &udp(1000, 53, b"question")), 6, 17),
        (ipv6(a, b, 6, &tcp(1000, 80, 2, b"odd")), 16, 6),
    ] {
        let frame = Frame::parse(&bytes).unwrap();
        let ip = frame.ip().unwrap();
        let (from, length) = (ip.transport_at, ip.end - ip.transport_at);
        let addresses = if ip.is_v6() {
            &bytes[22..54]
        } else {
            &bytes[26..34]
        };
        let length = u16::try_from(length).unwrap().to_be_bytes();
        let pseudo = [addresses, &length, &[0, protocol]].concat();
        let mut bytes = bytes.clone();
        let open = checksum::sum([pseudo.as_slice()]);
        bytes[from + usize::from(at)..][..2].copy_from_slice(&open.to_be_bytes());
        let place = Place {
            from: u16::try_from(from).unwrap(),
            at,
        };
        let work = Work::Checksum(place);
        let packet = Packet::of(frame, work, bytes);
        assert_eq!(packet.clone().fit(feature::GUEST_CHECKSUM).unwrap(), packet);
        let fitted = packet.fit(0).unwrap();
        assert_eq!(fitted.work, Work::Done);
        assert_eq!(
            checksum::sum([pseudo.as_slice(), &fitted.bytes[from..]]),
            0xffff
        );
    }
}

#[test]
fn what_the_receiver_cannot_cut_is_refused() {
    let bytes = ipv4(station(1), station(2), 6, &tcp(1, 2, 0x10, &[7; 4000]));
    let frame = Frame::parse(&bytes).unwrap();
    let work = Work::Cut(Place { from: 34, at: 16 }, 1460);
    let packet = Packet::of(frame, work, bytes);
    assert!(matches!(
        packet.clone().fit(feature::GUEST_TCP6),
        Err(PacketError::TooMuchWork)
    ));
    assert_eq!(packet.clone().fit(feature::GUEST_TCP4).unwrap(), packet);
}
