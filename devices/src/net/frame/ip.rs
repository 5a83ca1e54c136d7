//! IP packets of either version.

use std::net::IpAddr;

use super::Transport;

/// Numbers of protocols (IANA, Assigned Internet Protocol Numbers).
pub mod protocol {
    /// RFC 792.
    pub const ICMP: u8 = 1;
    /// RFC 9293.
    pub const TCP: u8 = 6;
    /// RFC 768.
    pub const UDP: u8 = 17;
    /// RFC 4340.
    pub const DCCP: u8 = 33;
    /// RFC 4443.
    pub const ICMPV6: u8 = 58;
    /// RFC 9260.
    pub const SCTP: u8 = 132;
    /// RFC 3828.
    pub const UDP_LITE: u8 = 136;
}

/// A packet that is no fragment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ip {
    /// By whom, as it says.
    pub source: IpAddr,
    /// For whom.
    pub destination: IpAddr,
    /// Hops that it may still make.
    pub hops: u8,
    /// The protocol's number: that of the last header of IPv6.
    pub protocol: u8,
    /// Where the protocol's header begins in the frame.
    pub transport_at: usize,
    /// Where the packet ends in the frame.
    pub end: usize,
    /// The protocol's header.
    pub transport: Transport,
}

impl Ip {
    /// Size of the whole packet in bytes.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.end.saturating_sub(super::ETHERNET)
    }

    /// Whether it is a packet of version 6.
    #[must_use]
    pub const fn is_v6(&self) -> bool {
        self.source.is_ipv6()
    }
}
