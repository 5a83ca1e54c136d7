//! Connections over a port that has none: a virtio-serial port is one stream of bytes for as long as its machine runs, while links
//! over it come and go. Both ends put what they say into frames, each of which names its connection:
//!
//! ```text
//! offset 0     1               5            7
//!        kind  connection u32  length u16   length bytes          (big-endian)
//!        1 open    length 0: by the machine inside alone; ends the connection before it
//!        2 data    length 1 to 16384
//!        3 close   length 0: by either, both ways at once
//! ```
//!
//! One connection a port. What names another than the present one is late, and dropped: nothing of a link that broke is ever taken
//! for the next one's. There are no windows: who does not read a port holds its peer up, which is right where there is one connection.
//!
//! This part is pure: bytes become events, heads become bytes. [`stream`] has it on a stream.

#[cfg(feature = "async")]
pub mod stream;

use std::num::NonZeroU16;

/// Most bytes in one data frame.
pub const MAX_DATA: u16 = 16 << 10;
/// Bytes before a frame's data.
pub const HEAD: usize = 7;

/// Names a connection of a port: another one each time, for as long as the numbers reach.
pub type ConnectionId = u32;

/// What begins a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Head {
    /// A connection begins.
    Open(ConnectionId),
    /// So many bytes of a connection follow, at most [`MAX_DATA`].
    Data(ConnectionId, NonZeroU16),
    /// A connection ends.
    Close(ConnectionId),
}

/// The peer does not speak this protocol: the port is of no use any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PortError {
    /// There is no such kind of frame.
    #[error("there is no frame of kind {0}")]
    Kind(u8),
    /// The length is none of that kind.
    #[error("a frame of kind {kind} has no {length} bytes of data")]
    Length {
        /// The kind.
        kind: u8,
        /// What was announced.
        length: u16,
    },
}

const OPEN: u8 = 1;
const DATA: u8 = 2;
const CLOSE: u8 = 3;

impl Head {
    /// As it is sent.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEAD] {
        let (kind, id, length) = match self {
            Self::Open(id) => (OPEN, id, 0),
            Self::Data(id, length) => (DATA, id, length.get()),
            Self::Close(id) => (CLOSE, id, 0),
        };
        let ([a, b, c, d], [high, low]) = (id.to_be_bytes(), length.to_be_bytes());
        [kind, a, b, c, d, high, low]
    }

    /// As it was sent.
    pub fn from_bytes([kind, a, b, c, d, high, low]: [u8; HEAD]) -> Result<Self, PortError> {
        let (id, length) = (
            u32::from_be_bytes([a, b, c, d]),
            u16::from_be_bytes([high, low]),
        );
        match (kind, NonZeroU16::new(length)) {
            (OPEN, None) => Ok(Self::Open(id)),
            (DATA, Some(some)) if length <= MAX_DATA => Ok(Self::Data(id, some)),
            (CLOSE, None) => Ok(Self::Close(id)),
            (OPEN..=CLOSE, _) => Err(PortError::Length { kind, length }),
            _ => Err(PortError::Kind(kind)),
        }
    }
}

/// What came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event<'b> {
    /// A connection begins.
    Open(ConnectionId),
    /// Some bytes of a connection, in their order; never none.
    Data(ConnectionId, &'b [u8]),
    /// A connection ends.
    Close(ConnectionId),
}

/// Reads frames, however they are cut. It holds no data: less than a head, at most.
#[derive(Clone, Debug, Default)]
pub struct Incoming {
    head: [u8; HEAD],
    have: usize,
    /// Of which connection data comes, and how much of it.
    data: Option<(ConnectionId, NonZeroU16)>,
}

impl Incoming {
    /// The next event in `bytes`, which is shortened by what that took, with at most `most` bytes of data; none where it takes more
    /// bytes, and where `most` is 0 while data is due. After an error it is of no use any more.
    pub fn next<'b>(
        &mut self,
        bytes: &mut &'b [u8],
        most: usize,
    ) -> Result<Option<Event<'b>>, PortError> {
        loop {
            if let Some((id, length)) = self.data {
                let size = usize::from(length.get()).min(most).min(bytes.len());
                let (Some((data, rest)), true) = (bytes.split_at_checked(size), size > 0) else {
                    return Ok(None);
                };
                *bytes = rest;
                // INVARIANT: size is at most the length, which is a u16.
                let left = u16::try_from(size).map_or(0, |size| length.get().saturating_sub(size));
                self.data = NonZeroU16::new(left).map(|left| (id, left));
                return Ok(Some(Event::Data(id, data)));
            }
            while self.have < HEAD {
                let (Some((first, rest)), Some(place)) =
                    (bytes.split_first(), self.head.get_mut(self.have))
                else {
                    return Ok(None);
                };
                *place = *first;
                *bytes = rest;
                self.have += 1;
            }
            self.have = 0;
            match Head::from_bytes(self.head)? {
                Head::Open(id) => return Ok(Some(Event::Open(id))),
                Head::Close(id) => return Ok(Some(Event::Close(id))),
                Head::Data(id, length) => self.data = Some((id, length)),
            }
        }
    }
}

#[cfg(test)]
mod tests;
