//! Network devices of guests: a switch between the guests of this host, and to what is outside where a segment has an uplink, on which each packet's flow was allowed before.
//!
//! ```text
//!  guest A ── tx ring ──► Packet::read ──► guard ──► Flows of A ──► Station of B: its inbox
//!    copied once           parsed           may A       may A               │ B's thread
//!                                           say so?     begin it?           ▼
//!  guest B ◄── rx ring ── deliver ◄───────────────────────────── Flows of B: may B be asked it?
//! ```
//!
//! Each guest has a thread of its own, which alone touches its RAM, its rings and its flows. Threads meet at inboxes, each
//! behind a lock of its own that is held for a moment, and no other is taken meanwhile. An inbox that is full takes no
//! more: whoever is slow loses packets, and holds up nobody.
//!
//! Known attack: a guest floods the others by broadcasts, or by frames for stations that there are not. Here nothing is ever
//! sent to more than one: whose an address is this host answers itself, by what the daemon admitted.

pub mod checksum;
mod deliver;
pub mod device;
pub mod dhcp;
pub mod dns;
mod era;
mod fabric;
pub mod flow;
pub mod frame;
pub mod guard;
pub mod header;
mod inbox;
mod interface;
pub mod observation;
pub mod packet;
pub mod port;
pub mod refusals;
#[cfg(test)]
mod sample;
mod shares;
mod spares;
mod steering;
pub mod uplink;

pub use deliver::{DeliverError, deliver};
pub(crate) use fabric::clash;
pub use fabric::{Fabric, FabricError, Plug, Segment, Station, Stations};
pub use inbox::{Inbox, Mail, ToldBy};
pub use interface::{InterfaceError, check};
pub use spares::Spares;
