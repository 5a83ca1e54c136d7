//! The launcher: the first process of a host's boot. It copies each program and file into a sealed memory file while it hashes
//! it, has the vault agree, and starts the program from that very memory file.
//!
//! ```text
//! main ─► Boot<Card> ─► Boot<Devices> ─► Boot<Coordinator> ─► Boot<Hypervisor> ─► Boot<Enclave> ─► Boot<Done>
//!                 each: measure all ─► vault agrees ─► phase ends ─► start ─► ready
//!                 any ─► Stopped: what runs goes on, nothing else is started
//! ```
//!
//! | module | concept |
//! |---|---|
//! | [`boot`] | the phases, a type each |
//! | [`measured`] | files as sealed memory files, and their digests |
//! | [`vault`] | the link on which the vault is told |
//! | [`coordinator`] | the link on which the coordinator says when the boot goes on |
//! | [`program`] | starting a program as its user, with its descriptors and nothing else |
//! | [`accounts`] | users by name |
//! | [`readiness`] | hearing that a program serves |
//! | [`confinement`] | what it and all that it starts cannot do |
//! | [`family`] | what was started: restarted when it ends |
//! | [`firmware`] | what the host's own firmware measured, handed on to the vault |
//!
//! It parses no network input: what the coordinator's first stage fetched comes to it in one message of one shape, and
//! is used only once its signature was verified here, too.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod accounts;
pub mod boot;
pub mod confinement;
pub mod coordinator;
pub mod execution;
pub mod family;
pub mod firmware;
pub mod measured;
pub mod program;
pub mod readiness;
pub mod vault;
