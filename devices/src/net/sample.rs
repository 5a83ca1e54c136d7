//! Frames as guests send them, for tests.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Two stations, by their addresses.
#[derive(Clone, Copy)]
pub(crate) struct Station {
    pub(crate) mac: [u8; 6],
    pub(crate) v4: Ipv4Addr,
    pub(crate) v6: Ipv6Addr,
}

/// The station of that number.
pub(crate) fn station(number: u8) -> Station {
    Station {
        mac: [2, 0, 0, 0, 7, number],
        v4: Ipv4Addr::new(10, 77, 0, number),
        v6: Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, number.into()),
    }
}

/// From one station to another.
pub(crate) fn ethernet(from: Station, to: Station, kind: u16, body: &[u8]) -> Vec<u8> {
    [to.mac.as_slice(), &from.mac, &kind.to_be_bytes(), body].concat()
}

pub(crate) fn ipv4(from: Station, to: Station, protocol: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + body.len()).unwrap();
    let mut header = [
        [0x45, 0].as_slice(),
        &length.to_be_bytes(),
        &[0, 0, 0, 0, 64, protocol, 0, 0],
        &from.v4.octets(),
        &to.v4.octets(),
    ]
    .concat();
    seal(&mut header);
    ethernet(from, to, 0x0800, &[header.as_slice(), body].concat())
}

/// Writes the checksum of an IPv4 header.
pub(crate) fn seal(header: &mut [u8]) {
    header[10..12].fill(0);
    let words = header
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let total: u32 = words.sum();
    let sum = !u16::try_from((total & 0xffff) + (total >> 16)).unwrap();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

pub(crate) fn ipv6(from: Station, to: Station, next: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap();
    let packet = [
        [0x60, 0, 0, 0].as_slice(),
        &length.to_be_bytes(),
        &[next, 255],
        &from.v6.octets(),
        &to.v6.octets(),
        body,
    ]
    .concat();
    ethernet(from, to, 0x86dd, &packet)
}

pub(crate) fn udp(source: u16, destination: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + data.len()).unwrap();
    [
        source.to_be_bytes().as_slice(),
        &destination.to_be_bytes(),
        &length.to_be_bytes(),
        &[0, 0],
        data,
    ]
    .concat()
}

pub(crate) fn tcp(source: u16, destination: u16, flags: u8, data: &[u8]) -> Vec<u8> {
    tcp_at((source, destination), flags, (0, 0), data)
}

/// Of these sequence and acknowledgement numbers.
pub(crate) fn tcp_at(
    (source, destination): (u16, u16),
    flags: u8,
    (sequence, acknowledgement): (u32, u32),
    data: &[u8],
) -> Vec<u8> {
    [
        source.to_be_bytes().as_slice(),
        &destination.to_be_bytes(),
        &sequence.to_be_bytes(),
        &acknowledgement.to_be_bytes(),
        &[0x50, flags, 0xff, 0xff, 0, 0, 0, 0],
        data,
    ]
    .concat()
}

/// Whose is that address?
pub(crate) fn arp_request(from: Station, target: Ipv4Addr) -> Vec<u8> {
    let everybody = Station {
        mac: [0xff; 6],
        ..from
    };
    let body = [
        [0, 1, 8, 0, 6, 4, 0, 1].as_slice(),
        &from.mac,
        &from.v4.octets(),
        &[0; 6],
        &target.octets(),
    ]
    .concat();
    ethernet(from, everybody, 0x0806, &body)
}

/// What devices are told of the station of that number.
pub(crate) fn interface(number: u8) -> bartizan_local::admission::Interface {
    use bartizan_local::admission::{Interface, Ipv4, Ipv6};
    let Station { mac, v4, v6 } = station(number);
    Interface {
        guest: bartizan_local::flow::Guest {
            vm: [number; 16],
            boot: 1,
        },
        segment: "front".into(),
        mac,
        ipv4: Some(Ipv4 {
            address: v4,
            prefix: 24,
            gateway: None,
        }),
        ipv6: Some(Ipv6 {
            address: v6,
            prefix: 64,
        }),
        mtu: 1500,
    }
}
