//! The hypervisor daemon → devices: which guests may have a vsock device, and which a network device beside it.
//!
//! The daemon sends [`AdmissionRequest`] frames over one connection, and gets an [`AdmissionReply`] to each. What it admits
//! devices keep until they are told otherwise or end, whether that connection lasts or not: who admits does so again on
//! the next one.

use std::fmt;
use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};

use minicbor::{Decode, Encode};

use crate::flow::Guest;
use crate::observation::Observe;

/// Largest frame either way, in bytes.
pub const MAX_FRAME: usize = 64 << 10;

/// What a supervisor attaches its guest's devices by: 32 random bytes, of one boot. Whoever has them may attach these devices
/// and no other, so that they are shown nowhere.
#[derive(Clone, Copy, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Ticket(#[cbor(with = "minicbor::bytes")] [u8; 32]);

impl Ticket {
    /// Of bytes that nobody can guess.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// In a time that does not tell where two tickets differ.
impl PartialEq for Ticket {
    fn eq(&self, other: &Self) -> bool {
        let bytes = self.0.iter().zip(&other.0);
        bytes.fold(0, |differ, (a, b)| black_box(differ | (a ^ b))) == 0
    }
}

/// Never the bytes.
impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(..)")
    }
}

/// The devices that a guest may have in one boot.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Admission {
    /// What it is attached by.
    #[n(0)]
    pub ticket: Ticket,
    /// The guest's context id (virtio 1.2 section 5.10.4); at least 3.
    #[n(1)]
    pub cid: u32,
    /// The host's services that the guest may reach; every other port is reset.
    #[n(2)]
    pub services: Vec<Service>,
    /// Its network device, where it has one.
    #[n(3)]
    pub network: Option<Interface>,
    /// Whether it was started before this, so that it may have connections of which devices that were just started know nothing.
    #[n(4)]
    pub runs: bool,
}

/// A guest's network device: all that it may say it is.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Interface {
    /// Whose: what is asked about its flows names it so.
    #[n(0)]
    pub guest: Guest,
    /// The segment that it is on: no frame passes between two. 1 to 63 of `a-z`, `0-9`, `-`.
    #[n(1)]
    pub segment: String,
    /// Its Ethernet address: of one station.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub mac: [u8; 6],
    /// Its IPv4 address.
    #[n(3)]
    pub ipv4: Option<Ipv4>,
    /// Its IPv6 address, beside the link-local one that follows from `mac` (RFC 4291 appendix A).
    #[n(4)]
    pub ipv6: Option<Ipv6>,
    /// Longest IP packet in bytes, 1280 to 65535.
    #[n(5)]
    pub mtu: u16,
}

/// An IPv4 address on a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Ipv4 {
    /// The address.
    #[n(0)]
    pub address: Ipv4Addr,
    /// Length of its network's prefix in bits, 0 to 32.
    #[n(1)]
    pub prefix: u8,
    /// Where packets to other networks go.
    #[n(2)]
    pub gateway: Option<Ipv4Addr>,
}

/// An IPv6 address on a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Ipv6 {
    /// The address.
    #[n(0)]
    pub address: Ipv6Addr,
    /// Length of its network's prefix in bits, 0 to 128.
    #[n(1)]
    pub prefix: u8,
}

/// A host service behind a vsock port of the host (CID 2).
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Service {
    /// The port that the guest connects to.
    #[n(0)]
    pub port: u32,
    /// Path of the Unix stream socket that each such connection is forwarded to.
    #[n(1)]
    pub socket: String,
}

/// What the daemon wants of devices.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum AdmissionRequest {
    /// These devices may be attached, in the place of what was admitted under their CID before.
    #[n(0)]
    Admit(#[n(0)] Admission),
    /// These stay admitted, and nothing else: devices that were attached by any other ticket end.
    #[n(1)]
    Retain(#[n(0)] Vec<Ticket>),
    /// What is seen of a guest's flows. The first frame of its connection, and the only one: see [`crate::observation`].
    #[n(2)]
    Observe(#[n(0)] Observe),
}

/// The answer.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum AdmissionReply {
    /// It is so now.
    #[n(0)]
    Done,
    /// Refused, and why.
    #[n(1)]
    Refused(#[n(0)] String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decode, encode};

    #[test]
    fn a_ticket_is_shown_nowhere_and_equals_itself_only() {
        let ticket = Ticket::new([0xa5; 32]);
        let admission = Admission {
            ticket,
            cid: 3,
            services: Vec::new(),
            network: None,
            runs: false,
        };
        let shown = format!("{:?}", AdmissionRequest::Admit(admission));
        assert!(
            !shown.contains("165") && shown.contains("Ticket(..)"),
            "{shown}"
        );
        for bit in 0..256 {
            let mut bytes = *ticket.as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(Ticket::new(bytes), ticket);
        }
        assert_eq!(decode::<Ticket>(&encode(&ticket)).unwrap(), ticket);
    }

    #[test]
    fn a_ticket_has_32_bytes() {
        for size in [0, 31, 33] {
            let bytes = minicbor::bytes::ByteVec::from(vec![1; size]);
            assert!(decode::<Ticket>(&encode(&bytes)).is_err(), "{size}");
        }
    }

    /// As many as devices have places for.
    #[test]
    fn all_tickets_fit_into_a_frame() {
        let all = AdmissionRequest::Retain(vec![Ticket::new([0xff; 32]); 1024]);
        assert!(encode(&all).len() <= MAX_FRAME);
    }
}
