//! Neighbour discovery (RFC 4861), and group memberships (RFC 2710, 3810) and others that never leave a link.

use std::net::Ipv6Addr;

use super::cursor::Cursor;
use super::{FrameError, Mac, ether_type, protocol};

/// A message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Neighbour {
    /// What it is.
    pub kind: NeighbourKind,
    /// Of whom it asks or tells.
    pub target: Option<Ipv6Addr>,
    /// The Ethernet address that it says is the sender's or the target's.
    pub station: Option<Mac>,
}

/// What a message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NeighbourKind {
    /// Is there a router?
    RouterSolicitation,
    /// There is.
    RouterAdvertisement,
    /// Whose is an address?
    Solicitation,
    /// It is this station's.
    Advertisement,
    /// Another router is better.
    Redirect,
    /// Which groups somebody listens to.
    Membership,
}

/// In an advertisement: it was asked for, and replaces what is known.
const SOLICITED_OVERRIDE: u8 = 0x60;

impl Neighbour {
    /// The message at `at`, if it is one.
    pub(super) fn parse(packet: &[u8], at: usize) -> Result<Option<Self>, FrameError> {
        let mut cursor = Cursor::at(packet, at);
        let [kind, _code, _, _] = cursor.array()?;
        let (kind, fixed, has_target) = match kind {
            130..=132 | 143 => (NeighbourKind::Membership, 0, false),
            133 => (NeighbourKind::RouterSolicitation, 4, false),
            134 => (NeighbourKind::RouterAdvertisement, 12, false),
            135 => (NeighbourKind::Solicitation, 4, true),
            136 => (NeighbourKind::Advertisement, 4, true),
            137 => (NeighbourKind::Redirect, 36, false),
            _ => return Ok(None),
        };
        let mut message = Self {
            kind,
            target: None,
            station: None,
        };
        if kind == NeighbourKind::Membership {
            return Ok(Some(message));
        }
        cursor.take(fixed)?;
        if has_target {
            message.target = Some(cursor.array::<16>()?.into());
        }
        message.station = station(&mut cursor)?;
        Ok(Some(message))
    }

    /// The frame of a solicitation of `asker`, to all whose address it could be (RFC 4861 section 4.3): whose is that address?
    #[must_use]
    pub fn question(asker: (Mac, Ipv6Addr), address: Ipv6Addr) -> Vec<u8> {
        let message = [
            [135, 0, 0, 0, 0, 0, 0, 0].as_slice(),
            &address.octets(),
            &[1, 1],
            &asker.0.0,
        ]
        .concat();
        let [.., a, b, c] = address.octets();
        // RFC 4291 section 2.7.1, RFC 2464 section 7.
        let [high, low] = [0xff00 | u16::from(a), u16::from_be_bytes([b, c])];
        let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, high, low);
        frame(asker, (Mac([0x33, 0x33, 0xff, a, b, c]), group), message)
    }

    /// The frame of the answer to a solicitation of `asker`: the target is that station's.
    #[must_use]
    pub fn answered_by(target: Ipv6Addr, station: Mac, asker: (Mac, Ipv6Addr)) -> Vec<u8> {
        let message = [
            [136, 0, 0, 0, SOLICITED_OVERRIDE, 0, 0, 0].as_slice(),
            &target.octets(),
            &[2, 1],
            &station.0,
        ]
        .concat();
        frame((station, target), asker, message)
    }
}

/// A message without its checksum in its frame, from one station to another.
fn frame(from: (Mac, Ipv6Addr), to: (Mac, Ipv6Addr), mut message: Vec<u8>) -> Vec<u8> {
    let sum = checksum(from.1, to.1, &message);
    if let Some(place) = message.get_mut(2..4) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
    let length = u16::try_from(message.len()).unwrap_or(0);
    [
        to.0.0.as_slice(),
        &from.0.0,
        &ether_type::IPV6.to_be_bytes(),
        &[0x60, 0, 0, 0],
        &length.to_be_bytes(),
        // Of 255 hops: none was made (RFC 4861 section 7.1.2).
        &[protocol::ICMPV6, 255],
        &from.1.octets(),
        &to.1.octets(),
        &message,
    ]
    .concat()
}

/// The one option that names a station. Others are walked over; each has a size, and none that is 0.
fn station(cursor: &mut Cursor<'_>) -> Result<Option<Mac>, FrameError> {
    let mut station = None;
    while cursor.left() > 0 {
        let [kind, units] = cursor.array()?;
        let size = (8 * usize::from(units)).checked_sub(2);
        let body = cursor.take(size.ok_or(FrameError::Neighbour)?)?;
        if matches!(kind, 1 | 2) {
            let body = body.try_into().map_err(|_| FrameError::Neighbour)?;
            // Known attack: two of them, of which each reader believes another.
            if station.replace(Mac(body)).is_some() {
                return Err(FrameError::Neighbour);
            }
        }
    }
    Ok(station)
}

/// Over the pseudo-header and the message (RFC 8200 section 8.1).
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let length = u16::try_from(message.len()).unwrap_or(0).to_be_bytes();
    let pseudo = [
        source.octets().as_slice(),
        &destination.octets(),
        &[0, 0],
        &length,
        &[0, 0, 0, protocol::ICMPV6],
    ]
    .concat();
    !crate::net::checksum::sum([pseudo.as_slice(), message])
}
