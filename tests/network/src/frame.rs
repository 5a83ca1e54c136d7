//! Frames as guests send them, each behind its header of virtio.

use std::net::Ipv4Addr;

use bartizan_devices::net::checksum;
use bartizan_devices::net::header::{HEADER_LEN, Header};
use bartizan_local::admission::{Interface, Ipv4};
use bartizan_local::flow::Guest;

/// Bytes of Ethernet's and IP's headers.
const HEADERS: usize = 34;
/// Longest frame that a guest sends without leaving its cutting to others.
const UNCUT: usize = 1514;
/// Where the sender's port is, behind the header of virtio.
pub(crate) const PORT_AT: usize = HEADER_LEN + HEADERS;

const UDP: u8 = 17;
const TCP: u8 = 6;

/// TCP's flags.
pub(crate) const SYN: u8 = 2;
pub(crate) const ACK: u8 = 16;

/// What devices are told of the guest of that number.
pub(crate) fn interface(number: u16) -> Interface {
    let [high, low] = number.to_be_bytes();
    Interface {
        guest: Guest {
            vm: u128::from(number).to_be_bytes(),
            boot: 1,
        },
        segment: "bench".into(),
        mac: [2, 0, 0, 0, high, low],
        ipv4: Some(Ipv4 {
            address: Ipv4Addr::new(10, 77, high, low),
            prefix: 16,
            gateway: None,
        }),
        ipv6: None,
        mtu: 1500,
    }
}

/// Of so many bytes behind its header: a datagram, or a segment of data to be cut where it is longer than the MTU.
pub(crate) fn data(from: u16, to: u16, size: usize) -> Vec<u8> {
    if size > UNCUT {
        segment((from, to), ACK, size)
    } else {
        datagram(from, to, size)
    }
}

fn datagram(from: u16, to: u16, size: usize) -> Vec<u8> {
    let length = u16::try_from(size - HEADERS).unwrap_or(u16::MAX);
    let udp = [1024, 53, length, 0].map(u16::to_be_bytes).concat();
    ip((from, to), UDP, &Header::default(), &udp, size)
}

/// Of a connection between ports that are the same each way.
pub(crate) fn segment((from, to): (u16, u16), flags: u8, size: usize) -> Vec<u8> {
    let cut = Header {
        flags: 1,
        cutting: 1,
        header_len: 54,
        piece: 1448,
        sum_from: 34,
        sum_at: 16,
    };
    let header = if size > UNCUT { cut } else { Header::default() };
    let mut tcp = [1024_u16, 1024].map(u16::to_be_bytes).concat();
    tcp.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    ip((from, to), TCP, &header, &tcp, size)
}

fn ip((from, to): (u16, u16), protocol: u8, header: &Header, body: &[u8], size: usize) -> Vec<u8> {
    let (from, to) = (interface(from), interface(to));
    let address = |of: &Interface| of.ipv4.map_or([0; 4], |own| own.address.octets());
    let length = u16::try_from(size - 14).unwrap_or(u16::MAX).to_be_bytes();
    let mut ip = [
        [0x45, 0].as_slice(),
        &length,
        &[0, 0, 0, 0, 64, protocol, 0, 0],
        &address(&from),
        &address(&to),
    ]
    .concat();
    let sum = !checksum::sum([ip.as_slice()]);
    ip.splice(10..12, sum.to_be_bytes());
    let ethernet = [to.mac.as_slice(), &from.mac, &[8, 0]].concat();
    let mut bytes = [header.to_bytes(0).as_slice(), &ethernet, &ip, body].concat();
    bytes.resize(HEADER_LEN + size, 0);
    bytes
}
