//! Headers of transport protocols, as far as flows are told apart by them.

use std::fmt;

use super::cursor::Cursor;
use super::ipv4::Addresses;
use super::{FrameError, Icmp, Neighbour, protocol};

/// The header behind that of IP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Transport {
    /// TCP.
    Tcp {
        /// The sender's port.
        source: u16,
        /// The receiver's.
        destination: u16,
        /// The number of its first byte, or of its SYN (RFC 9293 section 3.1).
        sequence: u32,
        /// The number that its sender wants next, where it has [`Flags::ACK`].
        acknowledgement: u32,
        /// Its flags.
        flags: Flags,
        /// Size of the header in bytes.
        header: usize,
    },
    /// UDP.
    Udp {
        /// The sender's port.
        source: u16,
        /// The receiver's.
        destination: u16,
    },
    /// Another protocol with ports. Known attack: what a rule denies by port passes by a protocol of which the ports are not looked at.
    Ported {
        /// The sender's port.
        source: u16,
        /// The receiver's.
        destination: u16,
    },
    /// ICMP of either version, but for neighbour discovery.
    Icmp(Icmp),
    /// Neighbour discovery.
    Neighbour(Neighbour),
    /// Any other protocol, opaque.
    Other,
}

/// The flags of a TCP header (RFC 9293 section 3.1).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    /// No more data.
    pub const FIN: u8 = 1;
    /// Begin.
    pub const SYN: u8 = 2;
    /// End at once.
    pub const RST: u8 = 4;
    /// The acknowledgement counts.
    pub const ACK: u8 = 16;

    /// Whether one of these is set.
    #[must_use]
    pub const fn has(self, flags: u8) -> bool {
        self.0 & flags != 0
    }

    /// All but these.
    pub(in crate::net) const fn without(self, flags: u8) -> Self {
        Self(self.0 & !flags)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({:#04x})", self.0)
    }
}

impl Transport {
    /// The sender's port and the receiver's, where it has ports.
    pub(in crate::net) const fn ports(&self) -> Option<(u16, u16)> {
        match self {
            Self::Tcp {
                source,
                destination,
                ..
            }
            | Self::Udp {
                source,
                destination,
            }
            | Self::Ported {
                source,
                destination,
            } => Some((*source, *destination)),
            Self::Icmp(_) | Self::Neighbour(_) | Self::Other => None,
        }
    }

    /// The header at `at` of a frame that ends where its packet does.
    pub(super) fn parse(
        packet: &[u8],
        at: usize,
        number: u8,
        addresses: &Addresses,
    ) -> Result<Self, FrameError> {
        let mut cursor = Cursor::at(packet, at);
        match (number, addresses) {
            (protocol::TCP, _) => tcp(&mut cursor),
            (protocol::UDP, _) => udp(&mut cursor),
            (protocol::SCTP | protocol::DCCP, _) => ported(&mut cursor, number, 12),
            (protocol::UDP_LITE, _) => ported(&mut cursor, number, 8),
            (protocol::ICMP, Addresses::V4) => Icmp::parse_v4(&mut cursor).map(Self::Icmp),
            (protocol::ICMPV6, Addresses::V6) => match Neighbour::parse(packet, at)? {
                Some(neighbour) => Ok(Self::Neighbour(neighbour)),
                None => Icmp::parse_v6(&mut cursor).map(Self::Icmp),
            },
            // The one's in the other: whoever takes it for a message judges something else.
            (protocol::ICMP | protocol::ICMPV6, _) => Err(FrameError::Transport(number)),
            _ => Ok(Self::Other),
        }
    }
}

fn tcp(cursor: &mut Cursor<'_>) -> Result<Transport, FrameError> {
    let whole = cursor.left();
    let (source, destination) = (cursor.u16()?, cursor.u16()?);
    let (sequence, acknowledgement) = (cursor.u32()?, cursor.u32()?);
    let header = usize::from(cursor.u8()? >> 4) * 4;
    let flags = Flags(cursor.u8()?);
    if header < 20 || header > whole {
        return Err(FrameError::Transport(protocol::TCP));
    }
    Ok(Transport::Tcp {
        source,
        destination,
        sequence,
        acknowledgement,
        flags,
        header,
    })
}

/// With a header of so many bytes at least.
fn ported(cursor: &mut Cursor<'_>, number: u8, least: usize) -> Result<Transport, FrameError> {
    if cursor.left() < least {
        return Err(FrameError::Transport(number));
    }
    Ok(Transport::Ported {
        source: cursor.u16()?,
        destination: cursor.u16()?,
    })
}

fn udp(cursor: &mut Cursor<'_>) -> Result<Transport, FrameError> {
    let whole = cursor.left();
    let (source, destination) = (cursor.u16()?, cursor.u16()?);
    let length = usize::from(cursor.u16()?);
    cursor.u16()?;
    if length != whole {
        return Err(FrameError::Transport(protocol::UDP));
    }
    Ok(Transport::Udp {
        source,
        destination,
    })
}
