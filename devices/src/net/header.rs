//! The header before each frame on a ring (virtio 1.2 section 5.1.6, `struct virtio_net_hdr`): what is still to be done to it.
//!
//! A guest may leave checksums and the cutting of long TCP packets to the device, which here leaves them to the receiving
//! guest. What one guest says of them another one's kernel acts upon, so that only what is true of the frame is passed on:
//! the receiver gets a header that was made from what was judged, never the sender's.
//!
//! Known attack: `gso_size`, `csum_start` or `csum_offset` outside of the frame, or in headers that are not its transport's,
//! crash or confuse whoever cuts or sums up.

use virtio_bindings::virtio_net;

use super::frame::{Frame, Transport};

/// Size of a header in bytes, with `num_buffers`, as it is for every driver of version 1.
pub const HEADER_LEN: usize = 12;
/// Least size of the pieces that a long packet is cut into, in bytes of TCP's data: RFC 879's 536 without much.
const LEAST_PIECE: u16 = 48;

const NEEDS_CHECKSUM: u8 = 1;
const NO_CUTTING: u8 = 0;
const CUT_TCP4: u8 = 1;
const CUT_TCP6: u8 = 4;

/// What a network device offers, or a driver took, as bits (virtio 1.2 section 5.1.3).
pub mod feature {
    use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;

    use super::virtio_net;

    /// The device sums up for the driver.
    pub const CHECKSUM: u64 = 1 << virtio_net::VIRTIO_NET_F_CSUM;
    /// The driver takes frames that are not summed up.
    pub const GUEST_CHECKSUM: u64 = 1 << virtio_net::VIRTIO_NET_F_GUEST_CSUM;
    /// The driver takes long TCP packets over IPv4.
    pub const GUEST_TCP4: u64 = 1 << virtio_net::VIRTIO_NET_F_GUEST_TSO4;
    /// Over IPv6.
    pub const GUEST_TCP6: u64 = 1 << virtio_net::VIRTIO_NET_F_GUEST_TSO6;
    /// The device takes long TCP packets over IPv4.
    pub const TCP4: u64 = 1 << virtio_net::VIRTIO_NET_F_HOST_TSO4;
    /// Over IPv6.
    pub const TCP6: u64 = 1 << virtio_net::VIRTIO_NET_F_HOST_TSO6;
    /// A frame may lie in several buffers of the driver's.
    pub const MERGEABLE: u64 = 1 << virtio_net::VIRTIO_NET_F_MRG_RXBUF;
    /// QEMU's configuration space says the MTU.
    pub const MTU: u64 = 1 << virtio_net::VIRTIO_NET_F_MTU;
    /// The driver may use several queues each way. Offered where the device has several.
    pub const QUEUES: u64 = 1 << virtio_net::VIRTIO_NET_F_MQ;
    /// Both sides say by which entry of a ring they want to hear of the other.
    pub const EVENT_INDEX: u64 = 1 << VIRTIO_RING_F_EVENT_IDX;
    /// All that is offered by every device.
    pub const OFFERED: u64 =
        CHECKSUM | GUEST_CHECKSUM | GUEST_TCP4 | GUEST_TCP6 | TCP4 | TCP6 | MERGEABLE | MTU;
}

/// A header as it stands on the ring, little-endian: any bytes are one, nothing is checked yet.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Header {
    /// Bit 0: the checksum is to be filled in.
    pub flags: u8,
    /// How the packet is to be cut.
    pub cutting: u8,
    /// Size of all headers in bytes, as a hint.
    pub header_len: u16,
    /// Size of the pieces in bytes of data.
    pub piece: u16,
    /// Where the bytes that are summed up begin in the frame.
    pub sum_from: u16,
    /// Where the checksum is behind that.
    pub sum_at: u16,
}

/// What is left to the receiver, as it is true of the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// Nothing.
    Done,
    /// The checksum.
    Checksum(Place),
    /// The checksum, after the packet was cut into pieces of so many bytes of data.
    Cut(Place, u16),
}

/// A checksum in a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Where the bytes that are summed up begin: at the transport header.
    pub from: u16,
    /// Where the checksum is behind that.
    pub at: u16,
}

/// A header is not true of its frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum HeaderError {
    /// Work that the driver did not negotiate, or that no driver may leave.
    #[error("the header asks for what was not negotiated")]
    NotNegotiated,
    /// The checksum is not the transport header's.
    #[error("the header places a checksum where the frame has none")]
    Checksum,
    /// The packet is none that can be cut so.
    #[error("the header asks for a cut that is not possible")]
    Cutting,
    /// Longer than the interface may send.
    #[error("the frame is longer than the MTU")]
    TooLong,
}

impl Header {
    /// Reads a header.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; HEADER_LEN]) -> Self {
        let [flags, cutting, a, b, c, d, e, f, g, h, _, _] = *bytes;
        Self {
            flags,
            cutting,
            header_len: u16::from_le_bytes([a, b]),
            piece: u16::from_le_bytes([c, d]),
            sum_from: u16::from_le_bytes([e, f]),
            sum_at: u16::from_le_bytes([g, h]),
        }
    }

    /// Writes it, for a frame in so many buffers.
    #[must_use]
    pub fn to_bytes(&self, buffers: u16) -> [u8; HEADER_LEN] {
        let [a, b] = self.header_len.to_le_bytes();
        let [c, d] = self.piece.to_le_bytes();
        let [e, f] = self.sum_from.to_le_bytes();
        let [g, h] = self.sum_at.to_le_bytes();
        let [i, j] = buffers.to_le_bytes();
        [self.flags, self.cutting, a, b, c, d, e, f, g, h, i, j]
    }

    /// What it leaves to be done to `frame`, by a driver with these features and on an interface of that MTU.
    pub fn check(&self, frame: &Frame, features: u64, mtu: u16) -> Result<Work, HeaderError> {
        let work = match (self.flags, self.cutting) {
            (0, NO_CUTTING) => Work::Done,
            (NEEDS_CHECKSUM, NO_CUTTING) => Work::Checksum(self.place(frame, features)?),
            (NEEDS_CHECKSUM, CUT_TCP4 | CUT_TCP6) => {
                let place = self.place(frame, features)?;
                Work::Cut(place, self.piece(frame, features, mtu)?)
            }
            // Known attack: a cut without a checksum has the receiver's kernel sum up what was never checked.
            (0, _) => return Err(HeaderError::Cutting),
            _ => return Err(HeaderError::NotNegotiated),
        };
        let is_long = frame.ip().is_some_and(|ip| ip.size() > mtu.into());
        match work {
            Work::Done | Work::Checksum(_) if is_long => Err(HeaderError::TooLong),
            _ => Ok(work),
        }
    }

    fn place(&self, frame: &Frame, features: u64) -> Result<Place, HeaderError> {
        if features & feature::CHECKSUM == 0 {
            return Err(HeaderError::NotNegotiated);
        }
        let ip = frame.ip().ok_or(HeaderError::Checksum)?;
        let at = match ip.transport {
            Transport::Tcp { .. } => 16,
            Transport::Udp { .. } => 6,
            _ => return Err(HeaderError::Checksum),
        };
        if usize::from(self.sum_from) != ip.transport_at || self.sum_at != at {
            return Err(HeaderError::Checksum);
        }
        Ok(Place {
            from: self.sum_from,
            at,
        })
    }

    fn piece(&self, frame: &Frame, features: u64, mtu: u16) -> Result<u16, HeaderError> {
        let ip = frame.ip().ok_or(HeaderError::Cutting)?;
        let (negotiated, is_right) = match self.cutting {
            CUT_TCP4 => (feature::TCP4, !ip.is_v6()),
            _ => (feature::TCP6, ip.is_v6()),
        };
        if features & negotiated == 0 {
            return Err(HeaderError::NotNegotiated);
        }
        let Transport::Tcp { header, .. } = ip.transport else {
            return Err(HeaderError::Cutting);
        };
        let headers = ip.transport_at - super::frame::ETHERNET + header;
        let fits = headers + usize::from(self.piece) <= mtu.into();
        if is_right && self.piece >= LEAST_PIECE && fits {
            Ok(self.piece)
        } else {
            Err(HeaderError::Cutting)
        }
    }
}

impl Work {
    /// The header for a receiver that does this work on `frame`.
    #[must_use]
    pub fn header(self, frame: &Frame) -> Header {
        let (place, piece) = match self {
            Self::Done => return Header::default(),
            Self::Checksum(place) => (place, None),
            Self::Cut(place, piece) => (place, Some(piece)),
        };
        let cutting = match (piece, frame.ip()) {
            (None, _) => NO_CUTTING,
            (Some(_), Some(ip)) if ip.is_v6() => CUT_TCP6,
            (Some(_), _) => CUT_TCP4,
        };
        let transport = match frame.ip().map(|ip| &ip.transport) {
            Some(Transport::Tcp { header, .. }) => *header,
            _ => 8,
        };
        let headers = usize::from(place.from) + transport;
        Header {
            flags: NEEDS_CHECKSUM,
            cutting,
            header_len: u16::try_from(headers).unwrap_or(0),
            piece: piece.unwrap_or(0),
            sum_from: place.from,
            sum_at: place.at,
        }
    }
}

#[cfg(test)]
mod tests;
