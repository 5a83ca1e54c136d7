use vm_memory::{Bytes, GuestAddress};

use super::*;
use crate::net::header::Place;
use crate::net::sample::{ipv4, ipv6, station, tcp, udp};
use crate::vhost_user::{Memory, View};

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

/// Known attack: a guest sends a short frame where another's long one was, and has what is left of that sent on.
#[test]
fn nothing_is_left_of_the_packet_whose_memory_is_used_again() {
    let ram = Memory::from_ranges(&[(GuestAddress(0), 0x4000)]).unwrap();
    let view = View::of(&ram);
    let (a, b) = (station(1), station(2));
    let frames = [
        ipv4(a, b, 17, &udp(1, 2, &[7; 1000])),
        ipv6(b, a, 6, &tcp(3, 4, 2, b"short")),
        ipv4(b, a, 17, &udp(5, 6, b"")),
        // No frame at all.
        vec![9; 8],
        ipv4(a, b, 6, &tcp(7, 8, 0x10, &[8; 500])),
    ];
    let mut spares = Spares::default();
    for frame in frames.iter().chain(frames.iter().rev()) {
        let size = u128::try_from(HEADER_LEN + frame.len()).unwrap();
        let descriptor = (size << 64) | 0x1000;
        ram.write_obj(descriptor.to_le(), GuestAddress(0)).unwrap();
        ram.write_slice(&[0; HEADER_LEN], GuestAddress(0x1000))
            .unwrap();
        let at = GuestAddress(0x1000 + HEADER_LEN as u64);
        ram.write_slice(frame, at).unwrap();
        let read = |spares: &mut Spares| {
            let chain = Chain::new(&view, GuestAddress(0), 1, 0);
            Packet::read(chain, feature::OFFERED, 1500, spares)
        };
        let anew = read(&mut Spares::default());
        match (read(&mut spares), anew) {
            (Ok(mut packet), Ok(anew)) => {
                assert_eq!(packet, anew);
                assert_eq!(packet.bytes, *frame);
                // What only its sender's side knew is gone, too.
                packet.begun_by = Some(Beginner::Receiver);
                spares.keep(packet);
            }
            (Err(ours), Err(anew)) => assert_eq!(ours.to_string(), anew.to_string()),
            other => panic!("{other:?}"),
        }
    }
}
