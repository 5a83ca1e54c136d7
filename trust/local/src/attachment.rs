//! A guest's supervisor → devices: attach the vsock device that the daemon had admitted (see [`crate::admission`]).
//!
//! The supervisor connects, sends one [`AttachVsock`] frame, with a journal's memfd attached if it keeps one, and gets one
//! [`Attached`] frame. Once that says [`Attached::Serving`], the connection speaks vhost-user, of which devices are the back
//! end. The device lives as long as it: either side ends it by closing.
//!
//! Known attack: a supervisor keeps the end of a link that it sent. Here devices have an end that nobody else has ever had.

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
