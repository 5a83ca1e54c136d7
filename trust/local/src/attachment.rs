//! A guest's supervisor → devices: attach a vsock device.
//!
//! The supervisor sends one [`AttachVsock`] frame with one descriptor, a connected stream socket that
//! speaks vhost-user (the device side is the back end), and gets one [`Attached`] frame. The device
//! lives as long as this connection: either side ends it by closing.

use minicbor::{Decode, Encode};

/// Largest frame either way, in bytes.
pub const MAX_FRAME: usize = 16 << 10;

/// A vsock device for one guest.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct AttachVsock {
    /// The guest's context id (virtio 1.2 section 5.10.4); at least 3.
    #[n(0)]
    pub cid: u32,
    /// The host's services that this guest may reach; every other port is reset.
    #[n(1)]
    pub services: Vec<Service>,
}

/// A host service behind a vsock port of the host (CID 2).
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Service {
    /// The port that the guest connects to.
    #[n(0)]
    pub port: u32,
    /// Path of the Unix stream socket that each such connection is forwarded to.
    #[n(1)]
    pub socket: String,
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
}
