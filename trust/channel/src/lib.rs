//! Links to other machines: TLS 1.3 and nothing else, both sides authenticated under the fleet CA. This crate is
//! the only user of rustls, so that its settings are in one place.
//!
//! | setting | why |
//! |---|---|
//! | TLS 1.3 only; 1.2 is not even compiled in | no downgrade to negotiate |
//! | X25519MLKEM768 preferred | what is recorded today stays closed to tomorrow's quantum computer |
//! | no session resumption, no tickets, no early data | a revocation bites at the next connection; nothing can be replayed |
//! | private keys behind [`HandshakeSigner`] | they stay in a vault |
//!
//! Within a host the enclave accepts, with a certificate that is for clients: [`EnclaveConnector`].
//!
//! Paths are validated here (signatures, times, extended key usage); *who* the peer is, is its caller's to judge, from
//! the chain that [`Acceptor::accept`] returns.

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

mod acceptor;
mod binding;
mod connector;
mod enclave;
mod error;
pub mod https;
mod identity;
mod protocol;
mod settings;
mod signer;

pub use acceptor::{Acceptor, PeerChain};
pub use binding::channel_binding;
pub use connector::Connector;
pub use enclave::EnclaveConnector;
pub use error::{ChannelError, Fault};
pub use identity::Identity;
pub use protocol::speaks_http2;
pub use signer::{HandshakeSignError, HandshakeSigner, LocalSigner};
pub use tokio_rustls::TlsStream;

#[cfg(test)]
mod tests;
