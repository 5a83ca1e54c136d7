//! The relay between QEMU and the devices process on a guest's vhost-user connection.
//!
//! QEMU 7.2 cannot take a vsock device's back end up again once it died. The relay can: it stands on
//! the connection, remembers what QEMU set ([`Recorded`]), attaches anew and repeats it, with each
//! ring's base set to what the guest has been told is done (`used->idx` in its RAM). QEMU never notices.
//!
//! ```text
//!            ┌── QEMU's message: forwarded, recorded ──┐
//!            ▼                                         │
//!        Attached ── back end gone ──► Alone ── attached, repeated, rings kicked ──► Attached
//!                                        │ ▲
//!                                        └─┘ QEMU's message: recorded, answered from the record
//! ```
//!
//! Both ends are hostile input: only the requests that a vsock device needs are relayed, messages are
//! bounded, and the only memory that QEMU may share with the back end is this guest's own RAM file.

mod attach;
mod link;
mod memory;
mod message;
mod proxy;
mod record;
mod repeat;
mod request;
mod written;

pub use attach::{AttachError, Devices};
pub use link::{Link, LinkError};
pub use memory::{MemoryError, MemoryTable};
pub use message::{Header, Message, MessageError, Ring, RingAddresses};
pub use proxy::{Proxy, ProxyError};
pub use record::{RecordError, Recorded};
pub use repeat::Outgoing;
pub use request::Request;
pub use written::WrittenLog;
