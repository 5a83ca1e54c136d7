//! DHCP (RFC 2131): each guest is told the address that it has anyway. There is no pool, and no lease to be run out of.

use bartizan_local::admission::{Interface, Ipv4};

use super::checksum;
use super::frame::ether_type;
use super::packet::Packet;

/// Where things are in a message (RFC 2131 section 2), in bytes.
mod place {
    pub(super) const HARDWARE: usize = 28;
    pub(super) const COOKIE: usize = 236;
    pub(super) const OPTIONS: usize = 240;
}

const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Seconds: a guest asks again within its boot, and gets the same answer.
const LEASE: u32 = 24 * 3600;
/// The server's Ethernet address: of no station, locally administered.
const SERVER: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Its IP address: link-local (RFC 3927), since it has none on any guest's network.
const SERVER_IP: [u8; 4] = [169, 254, 77, 67];
/// Least size of a message (RFC 951 section 3).
const LEAST: usize = 300;

/// Numbers of options (RFC 2132).
mod option {
    pub(super) const PAD: u8 = 0;
    pub(super) const MASK: u8 = 1;
    pub(super) const ROUTER: u8 = 3;
    pub(super) const MTU: u8 = 26;
    pub(super) const REQUESTED: u8 = 50;
    pub(super) const LEASE: u8 = 51;
    pub(super) const KIND: u8 = 53;
    pub(super) const SERVER: u8 = 54;
    pub(super) const END: u8 = 255;
}

/// What a client wants (RFC 2132 section 9.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// To hear which addresses there are to be had.
    Discover,
    /// This one, or the one that it has.
    Request([u8; 4]),
    /// Everything else but an address.
    Inform,
}

/// A client's message, as far as it is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Question {
    /// By what the client knows the answer.
    pub transaction: [u8; 4],
    /// What it wants.
    pub wish: Wish,
}

/// The frame of the answer to a guest's message; none where it is not answered.
#[must_use]
pub fn answer(interface: &Interface, packet: &Packet) -> Option<Vec<u8>> {
    let ip = packet.frame.ip()?;
    let message = packet.bytes.get(ip.transport_at + 8..ip.end)?;
    let question = Question::parse(message, interface.mac)?;
    Some(reply(&question, interface, interface.ipv4?))
}

impl Question {
    /// Reads a message of the station `mac`. What is malformed is not answered: nobody could tell the guest why.
    #[must_use]
    pub fn parse(message: &[u8], mac: [u8; 6]) -> Option<Self> {
        // A request, by Ethernet.
        if message.get(..3)? != [1, 1, 6] || message.get(place::COOKIE..place::OPTIONS)? != COOKIE {
            return None;
        }
        if message.get(place::HARDWARE..place::HARDWARE + 6)? != mac {
            return None;
        }
        let transaction = message.get(4..8)?.try_into().ok()?;
        let current: [u8; 4] = message.get(12..16)?.try_into().ok()?;
        let mut kind = None;
        let mut requested = current;
        let mut rest = message.get(place::OPTIONS..)?;
        while let Some((&code, after)) = rest.split_first() {
            rest = after;
            match code {
                option::PAD => continue,
                option::END => break,
                _ => {}
            }
            let (&size, after) = rest.split_first()?;
            let (value, after) = after.split_at_checked(size.into())?;
            rest = after;
            match (code, value) {
                (option::KIND, [one]) => kind = Some(*one),
                (option::REQUESTED, value) => requested = value.try_into().ok()?,
                _ => {}
            }
        }
        let wish = match kind? {
            1 => Wish::Discover,
            3 => Wish::Request(requested),
            8 => Wish::Inform,
            _ => return None,
        };
        Some(Self { transaction, wish })
    }
}

fn reply(question: &Question, interface: &Interface, own: Ipv4) -> Vec<u8> {
    let address = own.address.octets();
    let (kind, yours) = match question.wish {
        Wish::Discover => (2, address),
        Wish::Request(wanted) if wanted == address => (5, address),
        Wish::Request(_) => (6, [0; 4]),
        Wish::Inform => (5, [0; 4]),
    };
    let mut message = [
        [2, 1, 6, 0].as_slice(),
        &question.transaction,
        &[0; 8],
        &yours,
        &[0; 8],
        &interface.mac,
        &[0; 10 + 64 + 128],
        &COOKIE,
        &[option::KIND, 1, kind, option::SERVER, 4],
        &SERVER_IP,
    ]
    .concat();
    // A refusal says nothing else (RFC 2131 table 3).
    if kind != 6 {
        let mask = u32::MAX
            .checked_shl(32 - u32::from(own.prefix.min(32)))
            .unwrap_or(0);
        message.extend([option::MASK, 4]);
        message.extend(mask.to_be_bytes());
        message.extend([option::MTU, 2]);
        message.extend(interface.mtu.to_be_bytes());
        if let Some(gateway) = own.gateway {
            message.extend([option::ROUTER, 4]);
            message.extend(gateway.octets());
        }
        if question.wish != Wish::Inform {
            message.extend([option::LEASE, 4]);
            message.extend(LEASE.to_be_bytes());
        }
    }
    message.push(option::END);
    if message.len() < LEAST {
        message.resize(LEAST, option::PAD);
    }
    frame(interface.mac, &message)
}

/// From the server to the station, which may have no address yet and is told by broadcast at IP's level.
fn frame(station: [u8; 6], message: &[u8]) -> Vec<u8> {
    let datagram = u16::try_from(8 + message.len()).unwrap_or(0);
    let mut header = [
        [0x45, 0].as_slice(),
        &(20 + datagram).to_be_bytes(),
        &[0, 0, 0, 0, 64, 17, 0, 0],
        &SERVER_IP,
        &[0xff; 4],
    ]
    .concat();
    let sum = !checksum::sum([header.as_slice()]);
    if let Some(place) = header.get_mut(10..12) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
    [
        station.as_slice(),
        &SERVER,
        &ether_type::IPV4.to_be_bytes(),
        &header,
        &[0, 67, 0, 68],
        &datagram.to_be_bytes(),
        // Over IPv4 a datagram may do without a checksum (RFC 768).
        &[0, 0],
        message,
    ]
    .concat()
}

#[cfg(test)]
mod tests;
