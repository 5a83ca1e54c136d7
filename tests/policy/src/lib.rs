//! Generated policies and requests, and what must hold of any of them.
//!
//! ```text
//!  policies(), guest() ──► Compiled ─┐
//!                                    ├─► agreement: the compiled form decides as the plain one; what has the same in the fields
//!  request(), flows() ───────────────┘   that a decision depended on is decided so
//! ```
//!
//! Policies and requests are of the same few words and numbers (`generated/words.rs`), and of those next to them, so that they meet,
//! mostly at an edge.

#![forbid(unsafe_code)]

pub mod agreement;
mod generated;

pub use generated::{Facts, Owned, Sizes, flows, guest, policies, request};
