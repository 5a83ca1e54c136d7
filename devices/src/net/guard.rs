//! What a guest may say it is, and what it may tell others of the segment.
//!
//! A guest has the addresses of its [`Interface`], and its frames come from these. Nobody but this host tells whose an
//! address is, where routers are, and what addresses there are to be had: guests' answers to such questions are refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bartizan_local::admission::Interface;

use super::frame::{Arp, Body, Frame, Icmp, Ip, Mac, Neighbour, NeighbourKind, Transport};

/// A guest, or somebody outside, says what it is not, or tells others what is not its to tell.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Spoof {
    /// Another station's Ethernet address.
    #[error("the source MAC is not the sender's")]
    Mac,
    /// Another's IP address.
    #[error("the source address is not the sender's")]
    Address,
    /// An ARP packet in another's name, or an answer, for which nobody asks a guest.
    #[error("the ARP packet is not the sender's to send")]
    Arp,
    /// The same of neighbour discovery.
    #[error("the neighbour discovery message is not the sender's to send")]
    Neighbour,
    /// A guest poses as a router.
    #[error("router advertisements and redirects are not the sender's to send")]
    Router,
    /// A guest poses as a DHCP server.
    #[error("DHCP answers are not the sender's to send")]
    DhcpServer,
}

/// The port that a DHCP server sends from, and that of DHCPv6's (RFC 2131 section 4.1, RFC 8415 section 7.2).
const DHCP_SERVERS: [u16; 2] = [67, 547];
/// The port that clients listen at: only servers have something for it.
const DHCP_CLIENTS: [u16; 2] = [68, 546];
/// Messages of ICMP by which routers change others' routes: redirects (RFC 792), advertisements (RFC 1256).
const OF_ROUTERS: [u8; 2] = [5, 9];
/// Of a message of neighbour discovery that was on no other link (RFC 4861 section 7.1).
pub(super) const NO_HOP: u8 = 255;

/// Looks at what a guest sends.
pub fn check_sent(interface: &Interface, frame: &Frame) -> Result<(), Spoof> {
    let own = Mac(interface.mac);
    if frame.source != own {
        return Err(Spoof::Mac);
    }
    match &frame.body {
        Body::Arp(arp) => check_arp(interface, arp),
        Body::Ip(ip) => check_ip(interface, ip),
    }
}

/// Whether an address is the interface's.
#[must_use]
pub fn is_own(interface: &Interface, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => interface.ipv4.is_some_and(|own| own.address == address),
        IpAddr::V6(address) => {
            address == link_local(Mac(interface.mac))
                || interface.ipv6.is_some_and(|own| own.address == address)
        }
    }
}

/// The link-local address that follows from an Ethernet address (RFC 4291 appendix A).
#[must_use]
pub const fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    let (first, second) = ((a ^ 2) as u16, b as u16);
    Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        first << 8 | second,
        (c as u16) << 8 | 0xff,
        0xfe00 | d as u16,
        (e as u16) << 8 | f as u16,
    )
}

fn check_arp(interface: &Interface, arp: &Arp) -> Result<(), Spoof> {
    let own = interface.ipv4.map(|own| own.address);
    // A probe for an address that it is about to use has none yet (RFC 5227 section 2.1.1).
    let is_own = own == Some(arp.sender_ip)
        || (arp.sender_ip == Ipv4Addr::UNSPECIFIED && own == Some(arp.target_ip));
    if arp.sender == Mac(interface.mac) && is_own {
        Ok(())
    } else {
        Err(Spoof::Arp)
    }
}

/// That a packet is none by which its sender would pose as a DHCP server, or by IPv4 as a router.
pub(super) fn check_posing(ip: &Ip) -> Result<(), Spoof> {
    match &ip.transport {
        Transport::Udp {
            source,
            destination,
        } if DHCP_SERVERS.contains(source) || DHCP_CLIENTS.contains(destination) => {
            Err(Spoof::DhcpServer)
        }
        Transport::Icmp(Icmp::Other { kind }) if !ip.is_v6() && OF_ROUTERS.contains(kind) => {
            Err(Spoof::Router)
        }
        _ => Ok(()),
    }
}

fn check_ip(interface: &Interface, ip: &Ip) -> Result<(), Spoof> {
    check_posing(ip)?;
    match &ip.transport {
        Transport::Neighbour(message) => return check_neighbour(interface, ip, message),
        // Whoever asks for an address has none yet (RFC 2131 section 4.1).
        Transport::Udp {
            source: 68,
            destination: 67,
        } if ip.source == Ipv4Addr::UNSPECIFIED => return Ok(()),
        _ => {}
    }
    if is_own(interface, ip.source) {
        Ok(())
    } else {
        Err(Spoof::Address)
    }
}

fn check_neighbour(interface: &Interface, ip: &Ip, message: &Neighbour) -> Result<(), Spoof> {
    let is_own = |address: Ipv6Addr| self::is_own(interface, address.into());
    // Before it has an address it says that it has none (RFC 4862 section 5.4).
    let is_from = self::is_own(interface, ip.source) || ip.source == Ipv6Addr::UNSPECIFIED;
    let is_station = message
        .station
        .is_none_or(|told| told == Mac(interface.mac));
    match message.kind {
        NeighbourKind::RouterAdvertisement | NeighbourKind::Redirect => Err(Spoof::Router),
        NeighbourKind::Membership if is_from => Ok(()),
        NeighbourKind::RouterSolicitation | NeighbourKind::Solicitation
            if is_from && is_station && ip.hops == NO_HOP =>
        {
            Ok(())
        }
        NeighbourKind::Advertisement
            if is_from && is_station && ip.hops == NO_HOP && message.target.is_some_and(is_own) =>
        {
            Ok(())
        }
        _ => Err(Spoof::Neighbour),
    }
}
