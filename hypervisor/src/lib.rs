//! Runs guests and serves their attestation API.
//!
//! Three programs are built from this crate:
//!
//! | program | lives as long as | holds |
//! |---|---|---|
//! | `bartizan-supervisor` | one boot of one guest | that guest's RAM file, QEMU, measurer, devices, launch secret |
//! | `bartizan-hypervisor` | the host | nothing that a guest needs to go on: it can be killed and started again |
//! | `bartizan-keeper` | the host | the enclave's QEMU, which ends with it |
//!
//! | module | concept |
//! |---|---|
//! | [`qemu`] | how QEMU is started and spoken to |
//! | [`daemon`] | the daemon: operators, guests' lives, restarts |
//! | [`api`] | what a guest may ask |
//! | [`supervisor`] | one boot of one guest, from its files' hashes to its end |
//! | [`confinement`] | what each of the processes gives up |
//! | [`keeper`] | the enclave's machine: its QEMU, its links |
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
pub mod keeper;
pub mod log;
pub mod measured_program;
pub mod qemu;
mod serial;
mod socket;
pub mod supervisor;
