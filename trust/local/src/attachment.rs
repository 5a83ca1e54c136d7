//! A guest's supervisor → devices: attach the vsock device that the daemon had admitted (see [`crate::admission`]).
//!
//! The supervisor sends one [`AttachVsock`] frame with one descriptor, a connected stream socket that
//! speaks vhost-user (the device side is the back end), and gets one [`Attached`] frame. The device
//! lives as long as this connection: either side ends it by closing.

use minicbor::{Decode, Encode};

use crate::admission::Ticket;

/// Largest frame either way, in bytes.
pub const MAX_FRAME: usize = 16 << 10;

/// The vsock device of one guest. Which guest, and what it may reach, only the admission says.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct AttachVsock {
    /// What it was admitted by.
    #[n(0)]
    pub ticket: Ticket,
}

/// The answer.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Attached {
    /// The device serves.
    #[n(0)]
    Serving,
    /// Refused, and why.
    #[n(1)]
    Refused(#[n(0)] String),
    /// Nothing is admitted by that ticket: not yet, where devices have just started, or not any more.
    #[n(2)]
    UnknownTicket,
}
