//! Ethernet frames of guests: bytes become a [`Frame`], of which everything that is judged is known, or a typed refusal.
//!
//! What cannot be judged is refused rather than let by: VLAN tags (IEEE 802.1Q), IPv4 options and fragments (RFC 791), IPv6
//! routing, fragment and authentication headers, and whatever is shorter or longer than its headers say.
//!
//! Known attack: two readers see two packets in the same bytes (a fragment that hides a port, a trailer behind the packet's
//! end). So a frame is as long as its packet says, padding to Ethernet's minimum aside.

mod arp;
mod cursor;
mod icmp;
mod ip;
mod ipv4;
mod ipv6;
mod neighbour;
mod options;
mod transport;

use std::fmt;

pub use arp::{Arp, ArpOperation};
pub use icmp::{Icmp, Quoted};
pub use ip::{Ip, protocol};
pub use neighbour::{Neighbour, NeighbourKind};
pub use transport::{Flags, Transport};

use cursor::Cursor;

/// Size of an Ethernet header in bytes, without a VLAN tag.
pub const ETHERNET: usize = 14;
/// Least size of a frame in bytes, without its checksum: shorter packets are padded to it.
const LEAST_FRAME: usize = 60;

/// What a packet is, by the number in its Ethernet header (IANA, IEEE 802 Numbers).
pub mod ether_type {
    /// RFC 894.
    pub const IPV4: u16 = 0x0800;
    /// RFC 826.
    pub const ARP: u16 = 0x0806;
    /// RFC 2464.
    pub const IPV6: u16 = 0x86dd;
    /// Tags of IEEE 802.1Q and 802.1ad, and what switches spoke before these.
    pub(super) const TAGS: [u16; 4] = [0x8100, 0x88a8, 0x9100, 0x9200];
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// All stations.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether it is of several stations.
    #[must_use]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A frame, as far as it is judged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// For whom.
    pub destination: Mac,
    /// By whom, as it says.
    pub source: Mac,
    /// What it carries.
    pub body: Body,
}

/// What a frame carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// A question or an answer of whose an IPv4 address is.
    Arp(Arp),
    /// An IP packet.
    Ip(Ip),
}

/// A frame cannot be judged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum FrameError {
    /// It ends inside a header.
    #[error("the frame ends inside a header")]
    Truncated,
    /// Longer than its packet.
    #[error("bytes follow the packet's end")]
    Trailer,
    /// A VLAN tag. Known attack: a guest hops into another's network by a tag, or two of them.
    #[error("the frame has a VLAN tag")]
    Tagged,
    /// Neither ARP nor IP.
    #[error("frames of type {0:#06x} are not carried")]
    EtherType(u16),
    /// No question or answer of IPv4 over Ethernet.
    #[error("the ARP packet is malformed")]
    Arp,
    /// Not what its Ethernet header says.
    #[error("the IP version is {0}")]
    Version(u8),
    /// An IPv4 header with options.
    #[error("the IPv4 header has options")]
    Options,
    /// A fragment: only the first tells what it is of, and they may overlap.
    #[error("the packet is a fragment")]
    Fragment,
    /// An IPv4 header whose checksum is wrong.
    #[error("the IPv4 header's checksum is wrong")]
    Checksum,
    /// The length of an IP packet is not that of the frame.
    #[error("the packet's length is wrong")]
    Length,
    /// An extension header of IPv6 that is not judged, or not in its place.
    #[error("the IPv6 extension header {0} is not carried there")]
    Extension(u8),
    /// An option in such a header that is not judged. Known attack: a home address (RFC 6275 section 6.3) is a source address
    /// that the header does not show; a jumbo payload (RFC 2675) a length that it does not.
    #[error("the option {0} of an IPv6 extension header is not carried")]
    ExtensionOption(u8),
    /// More extension headers than any packet needs.
    #[error("the chain of IPv6 extension headers is too long")]
    ExtensionChain,
    /// A TCP or UDP header that contradicts itself.
    #[error("the header of protocol {0} is malformed")]
    Transport(u8),
    /// An ICMP error with more of the packet than any host quotes. Known attack: data in an error's tail.
    #[error("the ICMP error is longer than any host's")]
    IcmpError,
    /// A message of neighbour discovery that contradicts RFC 4861.
    #[error("the neighbour discovery message is malformed")]
    Neighbour,
}

impl Frame {
    /// Reads a frame, from its Ethernet header on.
    pub fn parse(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut cursor = Cursor::new(bytes);
        let destination = Mac(cursor.array()?);
        let source = Mac(cursor.array()?);
        let kind = cursor.u16()?;
        let (body, end) = match kind {
            ether_type::ARP => (Body::Arp(Arp::parse(&mut cursor)?), cursor.position()),
            ether_type::IPV4 => {
                let (ip, end) = ipv4::parse(bytes)?;
                (Body::Ip(ip), end)
            }
            ether_type::IPV6 => {
                let (ip, end) = ipv6::parse(bytes)?;
                (Body::Ip(ip), end)
            }
            tag if ether_type::TAGS.contains(&tag) => return Err(FrameError::Tagged),
            other => return Err(FrameError::EtherType(other)),
        };
        if bytes.len() > end.max(LEAST_FRAME) {
            return Err(FrameError::Trailer);
        }
        Ok(Self {
            destination,
            source,
            body,
        })
    }

    /// Its IP packet, if it carries one.
    #[must_use]
    pub const fn ip(&self) -> Option<&Ip> {
        match &self.body {
            Body::Ip(ip) => Some(ip),
            Body::Arp(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
