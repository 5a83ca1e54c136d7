//! What a network device may be: the daemon's word, looked at once.

use std::net::Ipv4Addr;

use bartizan_local::admission::Interface;

use super::frame::Mac;
use super::uplink::GATE;

/// Least MTU in bytes: what IPv6 needs (RFC 8200 section 5).
const LEAST_MTU: u16 = 1280;

/// A device cannot be so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InterfaceError {
    /// Its MAC is of no one station, or of what is outside of the host.
    #[error("its MAC is not that of one guest")]
    Mac,
    /// Its segment has no name.
    #[error("its segment's name is not 1 to 63 of a-z, 0-9, `-`")]
    Segment,
    /// An address is of no one host, or its prefix too long.
    #[error("its address is not that of one host")]
    Address,
    /// The MTU is too small.
    #[error("its MTU is less than {LEAST_MTU}")]
    Mtu,
}

/// Looks at a device that is to be admitted.
pub fn check(interface: &Interface) -> Result<(), InterfaceError> {
    let mac = Mac(interface.mac);
    // What guests take for the station that is outside is no guest, with an uplink or without.
    if mac.is_group() || mac == Mac::default() || mac == GATE {
        return Err(InterfaceError::Mac);
    }
    if !is_segment(&interface.segment) {
        return Err(InterfaceError::Segment);
    }
    let v4 = interface
        .ipv4
        .is_none_or(|ip| ip.prefix <= 32 && is_host(ip.address));
    let v6 = interface.ipv6.is_none_or(|ip| {
        let address = ip.address;
        ip.prefix <= 128
            && !address.is_unspecified()
            && !address.is_multicast()
            && !address.is_loopback()
    });
    if !v4 || !v6 {
        return Err(InterfaceError::Address);
    }
    if interface.mtu < LEAST_MTU {
        return Err(InterfaceError::Mtu);
    }
    Ok(())
}

/// Whether a segment can have that name.
#[must_use]
pub(super) fn is_segment(name: &str) -> bool {
    let is_plain = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (1..=63).contains(&name.len()) && name.bytes().all(is_plain)
}

fn is_host(address: Ipv4Addr) -> bool {
    let is_none = address.is_unspecified() || address.is_broadcast();
    !is_none && !address.is_multicast() && !address.is_loopback()
}
