//! Judging a header: what a guest sent, if it may have sent it.

use super::header::Header;

/// The host's context id (virtio 1.2 section 5.10.4).
pub const HOST_CID: u64 = 2;

/// Largest payload of one packet in bytes, either way.
pub const MAX_PAYLOAD: usize = 64 << 10;

/// `VIRTIO_VSOCK_TYPE_STREAM`.
pub(super) const STREAM: u16 = 1;

/// `VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE`: the sender will receive no more.
pub(super) const NO_MORE_RECEIVE: u32 = 1;

/// `VIRTIO_VSOCK_SHUTDOWN_F_SEND`: the sender will send no more.
pub(super) const NO_MORE_SEND: u32 = 2;

/// The numbers of the operations (`VIRTIO_VSOCK_OP_*`).
pub(super) mod op {
    pub(crate) const REQUEST: u16 = 1;
    pub(crate) const RESPONSE: u16 = 2;
    pub(crate) const RST: u16 = 3;
    pub(crate) const SHUTDOWN: u16 = 4;
    pub(crate) const RW: u16 = 5;
    pub(crate) const CREDIT_UPDATE: u16 = 6;
    pub(crate) const CREDIT_REQUEST: u16 = 7;
}

/// The two ends of a connection, as ports.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ports {
    /// The guest's port.
    pub guest: u32,
    /// The host's port.
    pub host: u32,
}

/// What a packet asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Open a connection.
    Request,
    /// Accept a connection.
    Response,
    /// End a connection at once.
    Reset,
    /// No more data will flow in these directions, seen from the sender.
    Shutdown {
        /// The sender will receive no more.
        receive: bool,
        /// The sender will send no more.
        send: bool,
    },
    /// Data.
    Data,
    /// News about the sender's buffer.
    CreditUpdate,
    /// Asks for news about the receiver's buffer.
    CreditRequest,
}

/// A packet of the guest that passed the judgement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Its connection.
    pub ports: Ports,
    /// What it asks for.
    pub operation: Operation,
    /// Payload size in bytes; zero unless the operation is [`Operation::Data`].
    pub len: usize,
    /// The guest's receive buffer in bytes.
    pub buf_alloc: u32,
    /// Bytes that the guest has taken out of it (wraps).
    pub fwd_cnt: u32,
}

/// Why a packet is not acted upon.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PacketError {
    /// The source is not the guest's own context id: forged. Never answered.
    #[error("the source CID {found} is not the guest's own {expected}")]
    ForgedSource {
        /// The guest's own.
        expected: u64,
        /// What the header said.
        found: u64,
    },
    /// Not to the host: guests cannot talk to each other.
    #[error("the destination CID {0} is not the host's")]
    WrongDestination(u64),
    /// Not a stream.
    #[error("socket type {0} is not served, streams (1) only")]
    UnknownType(u16),
    /// No such operation.
    #[error("operation {0} is unknown")]
    UnknownOperation(u16),
    /// Too large.
    #[error("a payload of {0} bytes exceeds the limit of {MAX_PAYLOAD}")]
    TooLarge(u32),
    /// The operation carries no payload, but there is one.
    #[error("operation {0} carries no payload")]
    UnexpectedPayload(u16),
}

impl PacketError {
    /// Whether the guest is told by a reset. A forged packet is not: the answer would go to
    /// whoever owns that source, and that is not this guest.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        !matches!(self, Self::ForgedSource { .. } | Self::UnknownOperation(_))
    }
}

/// Judges the copy of a header that the guest `cid` sent.
///
/// Known attacks of the kind: a forged source to speak as another guest (the source is compared on
/// every packet, not only at the request); a length changed after the check (the caller copies the
/// header once, and only the copy is judged and used).
pub fn judge(header: &Header, cid: u32) -> Result<Packet, PacketError> {
    if header.src_cid != u64::from(cid) {
        return Err(PacketError::ForgedSource {
            expected: cid.into(),
            found: header.src_cid,
        });
    }
    if header.dst_cid != HOST_CID {
        return Err(PacketError::WrongDestination(header.dst_cid));
    }
    if header.kind != STREAM {
        return Err(PacketError::UnknownType(header.kind));
    }
    let operation = operation(header)?;
    let len = header.len as usize;
    if len > MAX_PAYLOAD {
        return Err(PacketError::TooLarge(header.len));
    }
    if len != 0 && operation != Operation::Data {
        return Err(PacketError::UnexpectedPayload(header.op));
    }
    Ok(Packet {
        ports: Ports {
            guest: header.src_port,
            host: header.dst_port,
        },
        operation,
        len,
        buf_alloc: header.buf_alloc,
        fwd_cnt: header.fwd_cnt,
    })
}

fn operation(header: &Header) -> Result<Operation, PacketError> {
    Ok(match header.op {
        op::REQUEST => Operation::Request,
        op::RESPONSE => Operation::Response,
        op::RST => Operation::Reset,
        op::SHUTDOWN => Operation::Shutdown {
            receive: header.flags & NO_MORE_RECEIVE != 0,
            send: header.flags & NO_MORE_SEND != 0,
        },
        op::RW => Operation::Data,
        op::CREDIT_UPDATE => Operation::CreditUpdate,
        op::CREDIT_REQUEST => Operation::CreditRequest,
        other => return Err(PacketError::UnknownOperation(other)),
    })
}

#[cfg(test)]
mod tests;
