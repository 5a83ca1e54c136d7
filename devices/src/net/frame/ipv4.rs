//! IPv4 headers (RFC 791).

use std::net::Ipv4Addr;

use super::cursor::Cursor;
use super::{ETHERNET, FrameError, Ip, Transport};
use crate::net::checksum::sum;

/// A header without options, in bytes.
const HEADER: usize = 20;
/// "More fragments", and the offset of this one.
const FRAGMENT: u16 = 0x3fff;

/// The packet in a frame, and where it ends.
pub(super) fn parse(frame: &[u8]) -> Result<(Ip, usize), FrameError> {
    let mut cursor = Cursor::at(frame, ETHERNET);
    let header = Header::parse(&mut cursor)?;
    if header.is_fragment {
        return Err(FrameError::Fragment);
    }
    let end = ETHERNET + header.length;
    let packet = frame.get(..end).ok_or(FrameError::Length)?;
    let transport_at = cursor.position();
    let source = header.source.into();
    let destination = header.destination.into();
    let ip = Ip {
        transport: Transport::parse(packet, transport_at, header.protocol, &Addresses::V4)?,
        source,
        destination,
        hops: header.hops,
        protocol: header.protocol,
        transport_at,
        end,
    };
    Ok((ip, end))
}

/// Of which version the addresses around a transport header are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Addresses {
    V4,
    V6,
}

/// A header without options.
pub(super) struct Header {
    pub(super) source: Ipv4Addr,
    pub(super) destination: Ipv4Addr,
    pub(super) protocol: u8,
    hops: u8,
    /// Of the whole packet, in bytes.
    length: usize,
    pub(super) is_fragment: bool,
}

impl Header {
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, FrameError> {
        let bytes: [u8; HEADER] = cursor.array()?;
        let mut fields = Cursor::new(&bytes);
        let version = fields.u8()?;
        match (version >> 4, version & 0xf) {
            (4, 5) => {}
            (4, 6..) => return Err(FrameError::Options),
            (4, _) => return Err(FrameError::Length),
            (other, _) => return Err(FrameError::Version(other)),
        }
        let _class = fields.u8()?;
        let length = usize::from(fields.u16()?);
        let _identification = fields.u16()?;
        let fragment = fields.u16()?;
        let (hops, protocol) = (fields.u8()?, fields.u8()?);
        if sum([bytes.as_slice()]) != 0xffff {
            return Err(FrameError::Checksum);
        }
        let _checksum = fields.u16()?;
        if length < HEADER {
            return Err(FrameError::Length);
        }
        Ok(Self {
            source: fields.array::<4>()?.into(),
            destination: fields.array::<4>()?.into(),
            protocol,
            hops,
            length,
            is_fragment: fragment & FRAGMENT != 0,
        })
    }
}
