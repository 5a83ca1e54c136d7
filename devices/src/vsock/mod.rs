//! The vsock switch: connections of one guest to services of the host (virtio 1.2 section 5.10).
//!
//! ```text
//!  guest ── tx ring ──► chain::read_packet ──► judge ──► Switch::receive ──► Connection ──► Unix socket
//!        ◄─ rx ring ─── chain::write_packet ◄────────── Switch::next_packet ◄── Connection ◄──
//! ```
//!
//! Everything that a guest can make it hold is bounded: [`Limits::connections`] connections of
//! [`BUFFER`] bytes each, and as many resets that wait for room in the rx ring. Nothing is ever
//! queued from the host to the guest: what does not fit stays in the host's socket.

mod chain;
mod connection;
mod credit;
mod header;
mod host;
mod journal;
mod offer;
mod packet;
mod services;
mod slots;
mod switch;

pub use chain::{ChainError, read_packet, room, write_packet};
pub use credit::{BUFFER, Credit, CreditError};
pub use header::{HEADER_LEN, Header};
pub use journal::Journal;
pub use offer::offer;
pub use packet::{HOST_CID, MAX_PAYLOAD, Operation, Packet, PacketError, Ports, judge};
pub use services::{Services, ServicesError};
pub use switch::{Limits, Switch};
