//! Messages and their layout (vhost-user specification, "Message Specification"): a header of three
//! native-endian `u32`, then a payload whose size the header gives.

use std::os::fd::OwnedFd;

use super::Request;

/// A message with the descriptors that came with it.
#[derive(Debug)]
pub struct Message {
    /// Its header.
    pub header: Header,
    /// As many bytes as the header says.
    pub payload: Vec<u8>,
    /// Descriptors, in order.
    pub descriptors: Vec<OwnedFd>,
}

/// A message's header: version 1, size within [`Header::MAX_PAYLOAD`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What is asked or answered.
    pub request: Request,
    /// Whether it is an answer.
    pub reply: bool,
    /// Whether an acknowledgement is asked for.
    pub need_reply: bool,
    /// Payload size in bytes.
    pub size: usize,
}

/// Bytes that are no message of a vsock device's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Another version of the protocol.
    #[error("vhost-user message of version {0}; only 1 is spoken")]
    Version(u32),
    /// A request that no vsock device needs.
    #[error("vhost-user request {0} is not relayed")]
    Request(u32),
    /// More payload than any message has.
    #[error("vhost-user message of {0} bytes")]
    TooLarge(u32),
    /// A payload of another size than its request has.
    #[error("{0:?} with a payload of another size")]
    PayloadSize(Request),
    /// More descriptors than its request has.
    #[error("{0:?} with more descriptors than it has")]
    Descriptors(Request),
}

impl Header {
    /// Size on the wire in bytes.
    pub const SIZE: usize = 12;
    /// Largest payload in bytes: a configuration space of 256 bytes behind its 12 bytes, or a table of 8 regions.
    pub const MAX_PAYLOAD: usize = 512;
    const VERSION: u32 = 1;
    const REPLY: u32 = 1 << 2;
    const NEED_REPLY: u32 = 1 << 3;

    /// Reads a header.
    pub fn parse(bytes: [u8; Self::SIZE]) -> Result<Self, MessageError> {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        let number = u32::from_ne_bytes([a, b, c, d]);
        let flags = u32::from_ne_bytes([e, f, g, h]);
        let announced = u32::from_ne_bytes([i, j, k, l]);
        if flags & 3 != Self::VERSION {
            return Err(MessageError::Version(flags & 3));
        }
        let size = announced as usize;
        if size > Self::MAX_PAYLOAD {
            return Err(MessageError::TooLarge(announced));
        }
        Ok(Self {
            request: Request::from_number(number).ok_or(MessageError::Request(number))?,
            reply: flags & Self::REPLY != 0,
            need_reply: flags & Self::NEED_REPLY != 0,
            size,
        })
    }

    /// The header of a message whose payload has `size` bytes.
    #[must_use]
    pub const fn new(request: Request, size: usize) -> Self {
        Self {
            request,
            reply: false,
            need_reply: false,
            size,
        }
    }

    /// Writes the header.
    #[must_use]
    pub fn bytes(self) -> [u8; Self::SIZE] {
        let reply = if self.reply { Self::REPLY } else { 0 };
        let need_reply = if self.need_reply { Self::NEED_REPLY } else { 0 };
        let size = u32::try_from(self.size).unwrap_or(u32::MAX);
        let [a, b, c, d] = self.request.number().to_ne_bytes();
        let [e, f, g, h] = (Self::VERSION | reply | need_reply).to_ne_bytes();
        let [i, j, k, l] = size.to_ne_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }
}

impl Message {
    /// A message without descriptors.
    #[must_use]
    pub fn new(request: Request, payload: Vec<u8>) -> Self {
        Self {
            header: Header::new(request, payload.len()),
            payload,
            descriptors: Vec::new(),
        }
    }

    /// An answer to `request`.
    #[must_use]
    pub fn answer(request: Request, payload: Vec<u8>) -> Self {
        let mut message = Self::new(request, payload);
        message.header.reply = true;
        message
    }

    /// The payload, where it is one `u64`.
    pub fn number(&self) -> Result<u64, MessageError> {
        number(&self.payload).ok_or(MessageError::PayloadSize(self.header.request))
    }

    /// The payload, where it is a ring's index and a number.
    pub fn ring(&self) -> Result<Ring, MessageError> {
        let both = self.number()?;
        let [a, b, c, d, e, f, g, h] = both.to_ne_bytes();
        let index = u32::from_ne_bytes([a, b, c, d]);
        let index =
            u8::try_from(index).map_err(|_| MessageError::PayloadSize(self.header.request))?;
        Ok(Ring {
            index,
            number: u32::from_ne_bytes([e, f, g, h]),
        })
    }

    /// The payload, where it is a ring's addresses.
    pub fn ring_addresses(&self) -> Result<RingAddresses, MessageError> {
        RingAddresses::parse(&self.payload).ok_or(MessageError::PayloadSize(self.header.request))
    }
}

/// A ring's index and a number: its size, base or whether it is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ring {
    /// Which ring.
    pub index: u8,
    /// The number.
    pub number: u32,
}

impl Ring {
    /// Writes it.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        [
            u32::from(self.index).to_ne_bytes(),
            self.number.to_ne_bytes(),
        ]
        .concat()
    }
}

/// A ring's addresses, in QEMU's address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RingAddresses {
    /// Which ring.
    pub index: u8,
    /// Bit 0: log writes.
    pub flags: u32,
    /// Descriptor table.
    pub descriptors: u64,
    /// Used ring.
    pub used: u64,
    /// Available ring.
    pub available: u64,
    /// Where to log.
    pub log: u64,
}

impl RingAddresses {
    fn parse(payload: &[u8]) -> Option<Self> {
        let (head, addresses) = payload.split_at_checked(8)?;
        let [a, b, c, d, e, f, g, h] = head.try_into().ok()?;
        let mut numbers = addresses.chunks(8).map(number);
        let parsed = Self {
            index: u8::try_from(u32::from_ne_bytes([a, b, c, d])).ok()?,
            flags: u32::from_ne_bytes([e, f, g, h]),
            descriptors: numbers.next()??,
            used: numbers.next()??,
            available: numbers.next()??,
            log: numbers.next()??,
        };
        numbers.next().is_none().then_some(parsed)
    }

    /// Writes them.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        let mut bytes = Ring {
            index: self.index,
            number: self.flags,
        }
        .bytes();
        for address in [self.descriptors, self.used, self.available, self.log] {
            bytes.extend_from_slice(&address.to_ne_bytes());
        }
        bytes
    }
}

pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests;
