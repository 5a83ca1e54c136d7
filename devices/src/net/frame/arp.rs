//! ARP (RFC 826): of IPv4 over Ethernet, and nothing else.

use std::net::Ipv4Addr;

use super::cursor::Cursor;
use super::{FrameError, Mac, ether_type};

/// A packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arp {
    /// What it wants.
    pub operation: ArpOperation,
    /// Who says so.
    pub sender: Mac,
    /// Its address.
    pub sender_ip: Ipv4Addr,
    /// Of whom it is told.
    pub target: Mac,
    /// Its address.
    pub target_ip: Ipv4Addr,
}

/// What a packet wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArpOperation {
    /// To know whose an address is.
    Request,
    /// To tell.
    Reply,
}

impl Arp {
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, FrameError> {
        let (hardware, protocol) = (cursor.u16()?, cursor.u16()?);
        let sizes = [cursor.u8()?, cursor.u8()?];
        if (hardware, protocol, sizes) != (1, ether_type::IPV4, [6, 4]) {
            return Err(FrameError::Arp);
        }
        let operation = match cursor.u16()? {
            1 => ArpOperation::Request,
            2 => ArpOperation::Reply,
            _ => return Err(FrameError::Arp),
        };
        Ok(Self {
            operation,
            sender: Mac(cursor.array()?),
            sender_ip: cursor.array::<4>()?.into(),
            target: Mac(cursor.array()?),
            target_ip: cursor.array::<4>()?.into(),
        })
    }

    /// The frame of a question of `asker`: whose is that address?
    #[must_use]
    pub fn question(asker: (Mac, Ipv4Addr), address: Ipv4Addr) -> Vec<u8> {
        [
            Mac::BROADCAST.0.as_slice(),
            &asker.0.0,
            &ether_type::ARP.to_be_bytes(),
            &[0, 1, 8, 0, 6, 4, 0, 1],
            &asker.0.0,
            &asker.1.octets(),
            &[0; 6],
            &address.octets(),
        ]
        .concat()
    }

    /// The frame of the answer to this question: the address is that station's.
    #[must_use]
    pub fn answered_by(&self, station: Mac) -> Vec<u8> {
        [
            self.sender.0.as_slice(),
            &station.0,
            &ether_type::ARP.to_be_bytes(),
            &[0, 1, 8, 0, 6, 4, 0, 2],
            &station.0,
            &self.target_ip.octets(),
            &self.sender.0,
            &self.sender_ip.octets(),
        ]
        .concat()
    }
}
