//! Local links: how the processes of one host talk over Unix sockets.
//!
//! A message is one *frame*: its length as a big-endian `u32`, then that many bytes of
//! deterministic CBOR. Who is at the other end is asked of the kernel ([`fn@peer`]), never of the peer.
//!
//! This crate is apart from `bartizan-channel` because the processes that may hold no key and open no
//! network socket (devices, measurer) must not link TLS.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod admission;
#[cfg(feature = "async")]
pub mod aio;
pub mod attachment;
mod descriptors;
pub mod flow;
mod frame;
mod inherited;
pub mod measured;
pub mod observation;
mod peer;
pub mod port;
mod ready;

pub use descriptors::{recv_with_descriptors, send_with_descriptors};
pub use frame::{FrameError, decode, encode, read_frame, write_frame};
pub use inherited::inherited_link;
pub use peer::{Peer, peer};
pub use ready::{Notifier, notify_ready};
