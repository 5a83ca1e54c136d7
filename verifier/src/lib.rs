//! The attestation service: enrols hosts, issues nonces, judges reports, keeps verdicts, signs results.
//!
//! ```text
//!  TLS 1.3 ─► server ─► api ─► judge ─► vault (signs)
//!             peer      access   │  └──► storage (durable verdicts)
//!                                └─────► nonces (memory)
//! ```
//!
//! It holds no private key: they are in a vault of its own, reached over a Unix socket. It
//! cannot reach a guest or a host: those come to it.

#![forbid(unsafe_code)]

pub mod anchors;
pub mod api;
pub mod binary;
pub mod boots;
pub mod clock;
pub mod config;
pub mod confinement;
pub mod cut;
mod ending;
pub mod firmware;
pub mod init;
pub mod judge;
pub mod memory;
pub mod metrics;
pub mod nonces;
mod opening;
pub mod payer;
pub mod peer;
pub mod pem;
pub mod problem;
pub mod profile_cache;
pub mod quota;
pub mod quoted;
pub mod rotation;
pub mod run;
pub mod server;
pub mod service;
pub mod storage;
pub mod streams;
pub mod task;
pub mod tls_identity;
pub mod token_keys;
pub mod vault;
