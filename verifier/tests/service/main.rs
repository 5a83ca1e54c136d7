//! The service: its API over a real database and a stand-in vault, and its binary over TLS.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod author;
mod bench;
mod enclave;
mod enclave_evidence;
mod fleet;
mod host;
mod process;
mod stand_in_vault;

mod access;
mod boots;
mod bundles;
mod connections;
mod counters;
mod decisions;
mod durability;
mod enrolment;
mod fairness;
mod firmware;
mod fleet_cas;
mod full_disk;
mod guest_commands;
mod keys;
mod lifecycle;
mod operators;
mod policies;
mod quotas;
mod real_vault;
mod reports;
mod retention;
mod rotation;
mod streams;
mod succession;
mod tokens;
