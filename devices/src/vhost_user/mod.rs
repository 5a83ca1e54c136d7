//! The back end of vhost-user: one guest's RAM and rings, as its QEMU describes them.
//!
//! Source: the vhost-user protocol specification (QEMU, docs/interop/vhost-user.rst).
//!
//! What QEMU says is checked as a guest's words are: a QEMU that a guest took over must not harm other
//! guests, whose devices live in this process too.

mod backend;
mod buffers;
mod chain;
mod front;
mod memory;
#[cfg(test)]
pub(crate) mod noted;
mod pieces;
mod ring;
mod view;
mod whole;
mod written;

pub use backend::{Backend, MAX_PAIRS, Offer, Rings};
pub use buffers::Buffers;
pub use chain::Chain;
pub use front::{Front, FrontError};
pub use memory::{Ram, RamError, Region};
pub use pieces::{Pieces, PiecesError};
pub use ring::{Ring, RingError};
pub use view::View;
pub use whole::{Come, MessageError};
pub use written::{Memory, Written, WrittenPart};
