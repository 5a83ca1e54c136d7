//! The coordinator: leads a host's boot on, once card and devices run. It measures and starts nothing itself; it asks the
//! launcher, on a link that it was started with.
//!
//! | stage | what it does |
//! |---|---|
//! | 1, measured with the card | takes the bundle from a file, or has the card fetch it, verifies it, hands it to the launcher |
//! | 2, from the bundle | has hypervisor and measurer launched, and on their ready signal the enclave |
//!
//! Either parses what others have written, and gives up beforehand all that it does not need for that ([`confinement`]).
//!
//! The second stage is of the bundle, so that it can be replaced without touching what the host starts from.

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

pub mod bundle;
pub mod card;
pub mod confinement;
pub mod launcher;
pub mod source;
#[cfg(test)]
mod stand_in;
