//! A guest's supervisor → devices: attach a device that the daemon had admitted (see [`crate::admission`]).
//!
//! The supervisor connects, sends one [`Attach`] frame, and gets one [`Attached`] frame. Once that says [`Attached::Serving`], the
//! connection speaks vhost-user, of which devices are the back end. The device lives as long as it: either side ends it by closing.
//! Each device has a connection of its own. That devices have closed it says that the device writes to the guest's RAM no more.
//!
//! Memory files are attached to the frame as descriptors, in this order:
//!
//! 1. the journal of open connections, of a vsock device, if the supervisor keeps one;
//! 2. the log of what the device writes of the guest's RAM, where [`Attach::logged`] says so: of all of the RAM file, which the memory
//!    table is held to (`bartizan-write-tracking` has its form).
//!
//! Known attack: a supervisor keeps the end of a link that it sent. Here devices have an end that nobody else has ever had.

use minicbor::{Decode, Encode};

use crate::admission::Ticket;

/// Largest frame either way, in bytes.
pub const MAX_FRAME: usize = 16 << 10;

/// A device of one guest. Which guest, and what it may reach, only the admission says.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Attach {
    /// What it was admitted by.
    #[n(0)]
    pub ticket: Ticket,
    /// Which of the devices that were.
    #[n(1)]
    pub device: DeviceKind,
    /// Whether the last descriptor is a log, in which the device is to note all that it writes.
    #[n(2)]
    pub logged: bool,
}

/// The devices that a guest may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum DeviceKind {
    /// Vsock (virtio 1.2 section 5.10).
    #[n(0)]
    Vsock,
    /// Network (virtio 1.2 section 5.1).
    #[n(1)]
    Network,
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
