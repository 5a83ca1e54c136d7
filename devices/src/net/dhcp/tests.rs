use proptest::prelude::*;

use super::*;
use crate::net::header::Header;
use crate::net::sample::{self, Station, ipv4, station, udp};

fn interface() -> Interface {
    Interface {
        ipv4: Some(Ipv4 {
            address: station(5).v4,
            prefix: 24,
            gateway: Some(station(1).v4),
        }),
        ipv6: None,
        mtu: 1400,
        ..sample::interface(5)
    }
}

fn message(mac: [u8; 6], options: &[u8]) -> Vec<u8> {
    let mut message = vec![0; place::OPTIONS];
    message[..8].copy_from_slice(&[1, 1, 6, 0, 1, 2, 3, 4]);
    message[place::HARDWARE..place::HARDWARE + 6].copy_from_slice(&mac);
    message[place::COOKIE..].copy_from_slice(&COOKIE);
    message.extend(options);
    message
}

fn ask(options: &[u8]) -> Option<Vec<u8>> {
    let own = station(5);
    let nobody = Station {
        v4: [0; 4].into(),
        ..own
    };
    let everybody = Station {
        mac: [0xff; 6],
        v4: [255; 4].into(),
        ..own
    };
    let datagram = udp(68, 67, &message(own.mac, options));
    let bytes = ipv4(nobody, everybody, 17, &datagram);
    let packet = Packet::new(&Header::default(), bytes, 0, 1500).unwrap();
    answer(&interface(), &packet)
}

/// The kind of an answer, the address in it, and its options.
/// Kind, address, options.
type Answer = (u8, [u8; 4], Vec<(u8, Vec<u8>)>);

fn read(frame: &[u8]) -> Answer {
    let packet = Packet::own(frame.to_vec()).unwrap();
    assert_eq!(packet.frame.destination.0, station(5).mac);
    let message = &frame[42..];
    assert_eq!(message[4..8], [1, 2, 3, 4]);
    let mut options = Vec::new();
    let mut rest = &message[place::OPTIONS..];
    while rest[0] != option::END {
        let size = usize::from(rest[1]);
        options.push((rest[0], rest[2..2 + size].to_vec()));
        rest = &rest[2 + size..];
    }
    let kind = options
        .iter()
        .find(|(code, _)| *code == option::KIND)
        .unwrap()
        .1[0];
    (kind, message[16..20].try_into().unwrap(), options)
}

#[test]
fn a_guest_is_told_its_own_address() {
    let own = station(5).v4.octets();
    let (kind, address, options) = read(&ask(&[53, 1, 1, 255]).unwrap());
    assert_eq!((kind, address), (2, own));
    for expected in [
        (option::MASK, vec![255, 255, 255, 0]),
        (option::ROUTER, station(1).v4.octets().to_vec()),
        (option::MTU, vec![5, 120]),
    ] {
        assert!(options.contains(&expected), "{options:?}");
    }
    let request = |wanted: [u8; 4]| {
        let options = [&[0, 53, 1, 3, 50, 4], wanted.as_slice(), &[255]].concat();
        let (kind, address, _) = read(&ask(&options).unwrap());
        (kind, address)
    };
    assert_eq!(request(own), (5, own));
    assert_eq!(request([10, 77, 0, 9]), (6, [0; 4]));
    let (kind, address, options) = read(&ask(&[53, 1, 8, 255]).unwrap());
    assert_eq!((kind, address), (5, [0; 4]));
    assert!(options.iter().all(|(code, _)| *code != option::LEASE));
}

#[test]
fn what_is_no_question_of_its_own_is_not_answered() {
    // An offer, a release, no kind, an option beyond the end, an address of two bytes.
    for options in [
        &[53, 1, 2, 255][..],
        &[53, 1, 7, 255],
        &[255],
        &[53, 200, 1],
        &[53, 1, 3, 50, 2, 1, 1],
    ] {
        assert_eq!(ask(options), None, "{options:?}");
    }
    let foreign = message(station(6).mac, &[53, 1, 1, 255]);
    assert_eq!(Question::parse(&foreign, station(5).mac), None);
}

proptest! {
    #[test]
    fn any_message_is_read_or_not(bytes in prop::collection::vec(any::<u8>(), 0..600), options in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Question::parse(&bytes, station(5).mac);
        if let Some(question) = Question::parse(&message(station(5).mac, &options), station(5).mac) {
            let own = interface();
            let frame = reply(&question, &own, own.ipv4.unwrap());
            prop_assert!(Packet::own(frame).is_ok());
        }
    }
}
