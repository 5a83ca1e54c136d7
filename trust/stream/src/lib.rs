//! The stream that the enclave of a host holds open to the verifier.
//!
//! ```text
//!   enclave ══ hello: what I have, where I was ════════════════════════════► verifier
//!           ◄═ evidence kept up to … ═ policy set ═ appraisals ═ commands ══
//!           ══ evidence ═ policy in force, or refused ═ command done ══════►
//! ```
//!
//! - [`message`]: what is said, as types that can only be right; [`limits`] bounds it;
//! - [`resume`]: evidence is neither lost nor taken twice, however often the connection breaks; pure;
//! - [`client`] and [`server`]: gRPC (`stream.proto` beside this crate's manifest) over whatever carries bytes. TLS is their callers'.
//!
//! Only the enclave and the verifier link this crate.

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

mod backoff;
pub mod client;
mod codec;
mod error;
mod http2;
pub mod limits;
pub mod message;
pub mod resume;
pub mod server;
#[cfg(test)]
mod tests;
mod wire;

pub use backoff::Backoff;
pub use error::StreamError;
pub use prost::bytes::Bytes;
pub use tonic::Code;

/// The path of the one call (`:path` of HTTP/2).
pub const PATH: &str = "/bartizan.stream.v1.Verifier/Stream";
