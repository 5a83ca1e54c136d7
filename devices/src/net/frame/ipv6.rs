//! IPv6 headers (RFC 8200) and the extension headers that are judged.

use std::net::Ipv6Addr;

use super::cursor::Cursor;
use super::ipv4::Addresses;
use super::{ETHERNET, FrameError, Ip, Transport, options};

/// Bytes of all extension headers of one packet: more than hosts send.
const MOST_EXTENSION_BYTES: usize = 256;

/// Numbers of extension headers (RFC 8200 section 4).
mod extension {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    /// RFC 4302. What is behind it is judged by nobody here who could check it.
    pub(super) const AUTHENTICATION: u8 = 51;
    pub(super) const NOTHING: u8 = 59;
    pub(super) const DESTINATION: u8 = 60;
    /// Mobility, HIP, Shim6, and what is kept for experiments.
    pub(super) const OTHERS: [u8; 5] = [135, 139, 140, 253, 254];
}

/// The packet in a frame, and where it ends.
pub(super) fn parse(frame: &[u8]) -> Result<(Ip, usize), FrameError> {
    let mut cursor = Cursor::at(frame, ETHERNET);
    let header = Header::parse(&mut cursor)?;
    let end = cursor.position() + header.length;
    let packet = frame.get(..end).ok_or(FrameError::Length)?;
    let mut cursor = Cursor::at(packet, cursor.position());
    let protocol = skip_extensions(&mut cursor, header.next)?;
    let transport_at = cursor.position();
    let ip = Ip {
        transport: Transport::parse(packet, transport_at, protocol, &Addresses::V6)?,
        source: header.source.into(),
        destination: header.destination.into(),
        hops: header.hops,
        protocol,
        transport_at,
        end,
    };
    Ok((ip, end))
}

/// The fixed header.
pub(super) struct Header {
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    /// What follows.
    pub(super) next: u8,
    hops: u8,
    /// Of what follows, in bytes.
    length: usize,
}

impl Header {
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, FrameError> {
        let [first, ..] = cursor.array::<4>()?;
        if first >> 4 != 6 {
            return Err(FrameError::Version(first >> 4));
        }
        let length = usize::from(cursor.u16()?);
        let (next, hops) = (cursor.u8()?, cursor.u8()?);
        Ok(Self {
            source: cursor.array::<16>()?.into(),
            destination: cursor.array::<16>()?.into(),
            next,
            hops,
            length,
        })
    }
}

/// Walks over the extension headers; returns the protocol behind them.
///
/// At most two pass: hop-by-hop options first or nowhere, and destination options once, since they come twice only before a
/// routing header (RFC 8200 section 4.1).
///
/// Known attack: a chain of headers hides the transport header behind the bytes that a filter looks at (RFC 7112).
fn skip_extensions(cursor: &mut Cursor<'_>, first: u8) -> Result<u8, FrameError> {
    let (start, mut next) = (cursor.position(), first);
    let mut has_destination = false;
    for index in 0.. {
        match next {
            extension::HOP_BY_HOP if index == 0 => {}
            extension::DESTINATION if !has_destination => has_destination = true,
            extension::DESTINATION => return Err(FrameError::ExtensionChain),
            extension::FRAGMENT => return Err(FrameError::Fragment),
            extension::HOP_BY_HOP
            | extension::ROUTING
            | extension::AUTHENTICATION
            | extension::NOTHING => return Err(FrameError::Extension(next)),
            other if extension::OTHERS.contains(&other) => {
                return Err(FrameError::Extension(other));
            }
            protocol => return Ok(protocol),
        }
        let [following, size] = cursor.array()?;
        // In units of 8 bytes, the first not counted.
        let body = cursor.take(6 + 8 * usize::from(size))?;
        if cursor.position() - start > MOST_EXTENSION_BYTES {
            break;
        }
        options::check(body, next == extension::HOP_BY_HOP)?;
        next = following;
    }
    Err(FrameError::ExtensionChain)
}
