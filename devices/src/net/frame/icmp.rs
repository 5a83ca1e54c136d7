//! ICMP (RFC 792) and ICMPv6 (RFC 4443), but for neighbour discovery.

use std::net::IpAddr;

use super::cursor::Cursor;
use super::{FrameError, ipv4, ipv6, protocol};

/// Longest error in bytes, without IP's header: 576 with it (RFC 1812 section 4.3.2.3), 1280 of version 6 (RFC 4443 section 2.4).
const MOST_V4: usize = 576 - 20;
const MOST_V6: usize = 1280 - 40;

/// A message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Icmp {
    /// A question that is answered by an [`Icmp::EchoReply`] of the same identifier.
    EchoRequest {
        /// The message's type.
        kind: u8,
        /// Which question, or which program's.
        id: u16,
    },
    /// The answer.
    EchoReply {
        /// The message's type.
        kind: u8,
        /// Of the question.
        id: u16,
    },
    /// What became of a packet.
    Error {
        /// The message's type.
        kind: u8,
        /// The packet.
        quoted: Quoted,
    },
    /// Any other.
    Other {
        /// The message's type.
        kind: u8,
    },
}

/// The beginning of a packet inside an error: whoever gets it has sent that packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quoted {
    /// Its sender.
    pub source: IpAddr,
    /// Its receiver.
    pub destination: IpAddr,
    /// Its protocol.
    pub protocol: u8,
    /// The first four bytes behind its IP header: both ports, where it has such.
    pub ports: (u16, u16),
    /// The two bytes behind these: where it is an echo, its identifier.
    pub id: u16,
}

impl Icmp {
    /// The type of echo requests of that protocol, where it has any.
    pub(in crate::net) const fn echo_request(number: u8) -> Option<u8> {
        match number {
            protocol::ICMP => Some(8),
            protocol::ICMPV6 => Some(128),
            _ => None,
        }
    }

    /// The message's type.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::EchoRequest { kind, .. }
            | Self::EchoReply { kind, .. }
            | Self::Error { kind, .. }
            | Self::Other { kind } => *kind,
        }
    }

    pub(super) fn parse_v4(cursor: &mut Cursor<'_>) -> Result<Self, FrameError> {
        let size = cursor.left();
        let (kind, rest) = head(cursor)?;
        Ok(match kind {
            8 => Self::EchoRequest { kind, id: rest },
            0 => Self::EchoReply { kind, id: rest },
            // Unreachable, time exceeded, parameter problem. A redirect would have a guest change its routes by another's word, and source
            // quench is no more (RFC 6633): both are as any other message.
            3 | 11 | 12 if size > MOST_V4 => return Err(FrameError::IcmpError),
            3 | 11 | 12 => {
                let header = ipv4::Header::parse(cursor)?;
                let addresses = (header.source.into(), header.destination.into());
                if header.is_fragment {
                    return Err(FrameError::Fragment);
                }
                let quoted = Quoted::parse(cursor, addresses, header.protocol)?;
                Self::Error { kind, quoted }
            }
            kind => Self::Other { kind },
        })
    }

    pub(super) fn parse_v6(cursor: &mut Cursor<'_>) -> Result<Self, FrameError> {
        let size = cursor.left();
        let (kind, rest) = head(cursor)?;
        Ok(match kind {
            128 => Self::EchoRequest { kind, id: rest },
            129 => Self::EchoReply { kind, id: rest },
            // Unreachable, too big, time exceeded, parameter problem. A quoted extension header is taken for an unknown protocol,
            // of which there is no flow.
            1..=4 if size > MOST_V6 => return Err(FrameError::IcmpError),
            1..=4 => {
                let header = ipv6::Header::parse(cursor)?;
                let addresses = (header.source.into(), header.destination.into());
                let quoted = Quoted::parse(cursor, addresses, header.next)?;
                Self::Error { kind, quoted }
            }
            kind => Self::Other { kind },
        })
    }
}

/// Type, code, checksum, and the two halves of the word behind: the first is an echo's identifier.
fn head(cursor: &mut Cursor<'_>) -> Result<(u8, u16), FrameError> {
    let [kind, _code, _, _] = cursor.array()?;
    let id = cursor.u16()?;
    cursor.u16()?;
    Ok((kind, id))
}

impl Quoted {
    fn parse(
        cursor: &mut Cursor<'_>,
        (source, destination): (IpAddr, IpAddr),
        number: u8,
    ) -> Result<Self, FrameError> {
        // At least 8 bytes of it (RFC 792).
        let ports = (cursor.u16()?, cursor.u16()?);
        let id = cursor.u16()?;
        cursor.u16()?;
        Ok(Self {
            source,
            destination,
            protocol: number,
            ports,
            id,
        })
    }

    /// Where it is an echo request: its identifier.
    #[must_use]
    pub const fn echo(&self) -> Option<u16> {
        // Type and code are the first two bytes of what would be the ports.
        let [kind, _] = self.ports.0.to_be_bytes();
        match Icmp::echo_request(self.protocol) {
            Some(asks) if asks == kind => Some(self.id),
            _ => None,
        }
    }
}
