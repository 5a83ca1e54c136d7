//! Runs guests and serves their attestation API.
//!
//! Two programs are built from this crate:
//!
//! | program | lives as long as | holds |
//! |---|---|---|
//! | `bartizan-supervisor` | one boot of one guest | that guest's RAM file, QEMU, measurer, devices, launch secret |
//! | `bartizan-hypervisor` | the host | nothing that a guest needs to go on: it can be killed and started again |
//!
//! | module | concept |
//! |---|---|
//! | [`qemu`] | how QEMU is started and spoken to |
//! | [`daemon`] | the daemon: operators, guests' lives, restarts |
//! | [`api`] | what a guest may ask |
//! | [`supervisor`] | one boot of one guest, from its files' hashes to its end |
//! | [`confinement`] | what each of the processes gives up |
//! | [`cgroup`] | the control group of one boot: its limits, and its end |
//! | [`log`] | what both programs log, and how much |

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod account;
pub mod api;
pub mod cgroup;
mod clock;
pub mod confinement;
pub mod daemon;
#[cfg(test)]
mod headless;
pub mod log;
pub mod measured_program;
pub mod qemu;
mod serial;
mod socket;
pub mod supervisor;
