//! A frame of a guest, copied once out of its RAM, judged, and handed on as it was judged.

use std::ops::{Deref, DerefMut};

use super::checksum;
use super::frame::{ETHERNET, Frame, FrameError};
use super::header::{HEADER_LEN, Header, HeaderError, Work, feature};
use super::spares::Spares;
use crate::vhost_user::{Chain, Pieces, PiecesError};

/// Most bytes of a frame: a largest IP packet behind its Ethernet header.
pub const MAX_FRAME: usize = ETHERNET + 0xffff;

/// A frame, and what its receiver has to do to it: in one place from its sender to its receiver, and handed on by its address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet(Box<Content>);

/// What a packet is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content {
    /// What it says.
    pub frame: Frame,
    /// What is left to the receiver.
    pub work: Work,
    /// Its bytes, from its Ethernet header on.
    pub bytes: Vec<u8>,
    /// Where its connection's handshake is on no record: who began it, as the sender's side found.
    pub begun_by: Option<Beginner>,
    /// In which [`Era`](super::fabric::Station::era) of its sender's it was let pass, where a guest of this host sent it.
    pub era: Option<u64>,
}

/// Who began a connection, as seen from one of its packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beginner {
    /// The packet's sender.
    Sender,
    /// Its receiver.
    Receiver,
}

/// What a guest sent is no frame that is carried.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    /// It cannot be copied.
    #[error(transparent)]
    Pieces(#[from] PiecesError),
    /// It cannot be judged.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Its header is not true.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Longer than any frame.
    #[error("the frame is longer than {MAX_FRAME} bytes")]
    TooLong,
    /// Its receiver cannot do what its sender left to it.
    #[error("the receiver takes no such packets")]
    TooMuchWork,
}

impl Packet {
    /// Copies what a guest sends out of its RAM, for a driver with these features and an interface of that MTU.
    ///
    /// Known attack: a guest changes a frame after it was judged. Its bytes are read here once, and what was read is what the
    /// receiver gets.
    pub fn read(
        chain: Chain<'_, '_>,
        features: u64,
        mtu: u16,
        spares: &mut Spares,
    ) -> Result<Self, PacketError> {
        let mut pieces = Pieces::of(chain);
        let mut header = [0; HEADER_LEN];
        pieces.read(&mut header)?;
        let header = Header::from_bytes(&header);
        let Some(mut packet) = spares.take() else {
            let mut bytes = Vec::new();
            read_rest(&mut pieces, &mut bytes)?;
            return Self::new(&header, bytes, features, mtu);
        };
        // Each field is written anew: nothing of the former packet is left.
        let Content {
            frame,
            work,
            bytes,
            begun_by,
            era,
        } = &mut *packet.0;
        bytes.clear();
        read_rest(&mut pieces, bytes)?;
        *frame = Frame::parse(bytes)?;
        *work = header.check(frame, features, mtu)?;
        (*begun_by, *era) = (None, None);
        Ok(packet)
    }

    /// A frame with its header, both as they were copied.
    pub fn new(
        header: &Header,
        bytes: Vec<u8>,
        features: u64,
        mtu: u16,
    ) -> Result<Self, PacketError> {
        let frame = Frame::parse(&bytes)?;
        let work = header.check(&frame, features, mtu)?;
        Ok(Self::of(frame, work, bytes))
    }

    /// A frame of the device's own, with nothing left to do.
    pub fn own(bytes: Vec<u8>) -> Result<Self, FrameError> {
        Ok(Self::of(Frame::parse(&bytes)?, Work::Done, bytes))
    }

    fn of(frame: Frame, work: Work, bytes: Vec<u8>) -> Self {
        Self(Box::new(Content {
            frame,
            work,
            bytes,
            begun_by: None,
            era: None,
        }))
    }

    /// Does what a driver with these features does not.
    pub fn fit(mut self, features: u64) -> Result<Self, PacketError> {
        match self.work {
            Work::Done => {}
            Work::Checksum(place) => {
                if features & feature::GUEST_CHECKSUM == 0 {
                    self.sum_up(place.from.into(), place.at.into());
                    self.work = Work::Done;
                }
            }
            Work::Cut(..) => {
                let is_v6 = self.frame.ip().is_some_and(|ip| ip.is_v6());
                let takes = if is_v6 {
                    feature::GUEST_TCP6
                } else {
                    feature::GUEST_TCP4
                };
                if features & takes == 0 {
                    return Err(PacketError::TooMuchWork);
                }
            }
        }
        Ok(self)
    }

    /// The sender left the sum of the pseudo-header where the checksum is to be.
    fn sum_up(&mut self, from: usize, at: usize) {
        let end = self.frame.ip().map_or(self.bytes.len(), |ip| ip.end);
        let sum = !checksum::sum(self.bytes.get(from..end));
        // Of UDP, 0 says that there is no checksum (RFC 768).
        let sum = if sum == 0 && at == 6 { 0xffff } else { sum };
        if let Some(place) = self.bytes.get_mut(from + at..from + at + 2) {
            place.copy_from_slice(&sum.to_be_bytes());
        }
    }
}

fn read_rest(pieces: &mut Pieces<'_, '_>, bytes: &mut Vec<u8>) -> Result<(), PacketError> {
    if pieces.read_rest(bytes, MAX_FRAME)? {
        Ok(())
    } else {
        Err(PacketError::TooLong)
    }
}

impl Deref for Packet {
    type Target = Content;

    fn deref(&self) -> &Content {
        &self.0
    }
}

impl DerefMut for Packet {
    fn deref_mut(&mut self) -> &mut Content {
        &mut self.0
    }
}

#[cfg(test)]
mod tests;
