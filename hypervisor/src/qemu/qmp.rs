//! QEMU's monitor protocol (QMP, docs/interop/qmp-spec.rst) as far as a supervisor speaks it.
//!
//! A client of its own, not a crate: the ones there are read lines without a bound and generate the
//! whole of QEMU's schema, where eight commands are needed and the other end is hostile.

mod client;
mod lines;
mod message;

pub use client::{Qmp, QmpError};
pub use lines::{LineError, Lines};
pub use message::{Message, MessageError, ShutdownCause, parse};

/// Longest line in bytes; `info mtree -f` of a large machine takes about 100 KiB.
pub const MAX_LINE: usize = 1 << 20;
