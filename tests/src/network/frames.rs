//! Frames as a guest's root makes them, good ones and others.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result};

use crate::agent::Agent;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// Who sends, and whom to.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// The sender's address, as the frame says.
    pub from: Mac,
    /// The receiver's.
    pub to: Mac,
    /// The same of IPv4.
    pub v4: (Ipv4Addr, Ipv4Addr),
    /// The same of IPv6.
    pub v6: (Ipv6Addr, Ipv6Addr),
}

impl Way {
    /// From the client to the server.
    pub fn to_web(client: &mut Agent, web: &mut Agent) -> Result<Self> {
        Ok(Self {
            from: mac(client)?,
            to: mac(web)?,
            v4: (super::CLIENT.parse()?, super::WEB.parse()?),
            v6: (super::CLIENT_6.parse()?, super::WEB_6.parse()?),
        })
    }

    /// A frame of this kind (IANA, IEEE 802 Numbers).
    #[must_use]
    pub fn frame(&self, kind: u16, body: &[u8]) -> Vec<u8> {
        [self.to.as_slice(), &self.from, &kind.to_be_bytes(), body].concat()
    }

    /// An IPv4 packet without options.
    #[must_use]
    pub fn ipv4(&self, protocol: u8, body: &[u8]) -> Vec<u8> {
        self.ipv4_with(protocol, 0, &[], body)
    }

    /// An IPv4 packet with options, whole words of them, and with what its header says of fragments (RFC 791 section 3.1).
    #[must_use]
    pub fn ipv4_with(&self, protocol: u8, fragment: u16, options: &[u8], body: &[u8]) -> Vec<u8> {
        let words = 5 + options.len() / 4;
        let length = sized(4 * words + body.len());
        let mut header = [
            &[0x40 | u8::try_from(words).unwrap_or(0xf), 0],
            length.as_slice(),
            &[0x77, 0x77],
            &fragment.to_be_bytes(),
            &[64, protocol, 0, 0],
            &self.v4.0.octets(),
            &self.v4.1.octets(),
            options,
        ]
        .concat();
        let sum = sum(&header);
        header[10..12].copy_from_slice(&sum);
        self.frame(0x0800, &[header.as_slice(), body].concat())
    }

    /// An IPv6 packet; `next` is what its body begins with.
    #[must_use]
    pub fn ipv6(&self, next: u8, body: &[u8]) -> Vec<u8> {
        let (from, to) = (self.v6.0.octets(), self.v6.1.octets());
        let length = sized(body.len());
        let header = [
            [0x60, 0, 0, 0].as_slice(),
            &length,
            &[next, 255],
            &from,
            &to,
        ];
        self.frame(0x86dd, &[header.concat().as_slice(), body].concat())
    }

    /// A message of ICMPv6 with its checksum, which who receives one looks at.
    #[must_use]
    pub fn icmpv6(&self, message: &[u8]) -> Vec<u8> {
        let (from, to) = (self.v6.0.octets(), self.v6.1.octets());
        let length = sized(message.len());
        let pseudo = [
            &from,
            &to,
            [0, 0].as_slice(),
            &length,
            &[0, 0, 0, 58],
            message,
        ]
        .concat();
        let mut message = message.to_vec();
        message[2..4].copy_from_slice(&sum(&pseudo));
        self.ipv6(58, &message)
    }

    /// A TCP segment over IPv4 with these flags.
    #[must_use]
    pub fn tcp(&self, ports: (u16, u16), flags: u8, data: &[u8]) -> Vec<u8> {
        self.ipv4(6, &tcp(ports, flags, data))
    }

    /// A UDP datagram over IPv4, without a checksum.
    #[must_use]
    pub fn udp(&self, ports: (u16, u16), data: &[u8]) -> Vec<u8> {
        self.ipv4(17, &udp(ports, data))
    }
}

/// A TCP segment.
#[must_use]
pub fn tcp((from, to): (u16, u16), flags: u8, data: &[u8]) -> Vec<u8> {
    let head = [from.to_be_bytes(), to.to_be_bytes()].concat();
    let rest = [0, 0, 0, 7, 0, 0, 0, 7, 0x50, flags, 16, 0, 0, 0, 0, 0];
    [head.as_slice(), &rest, data].concat()
}

/// A UDP datagram.
#[must_use]
pub fn udp((from, to): (u16, u16), data: &[u8]) -> Vec<u8> {
    let head = [from.to_be_bytes(), to.to_be_bytes(), sized(8 + data.len())].concat();
    [head.as_slice(), &[0, 0], data].concat()
}

/// An ICMP message with its checksum.
#[must_use]
pub fn icmp(kind: u8, code: u8, rest: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut message = [[kind, code, 0, 0].as_slice(), &rest, data].concat();
    let sum = sum(&message);
    message[2..4].copy_from_slice(&sum);
    message
}

fn mac(agent: &mut Agent) -> Result<Mac> {
    let text = agent.must("cat /sys/class/net/eth0/address")?;
    let bytes = hex::decode(text.trim().replace(':', ""))?;
    bytes.try_into().ok().context("no Ethernet address")
}

fn sized(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
}

/// The checksum of RFC 1071.
fn sum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|word| {
        let low = word.get(1).copied().unwrap_or(0);
        u32::from(word[0]) << 8 | u32::from(low)
    });
    let mut total: u32 = words.sum();
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    let folded = u16::try_from(total).unwrap_or(0);
    (!folded).to_be_bytes()
}
