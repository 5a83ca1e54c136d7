//! The enclave: the one program of a virtual machine of its own, which has no disk, no network card and no shell, and whose RAM is
//! mapped by nobody but its QEMU.
//!
//! ```text
//!              port `bartizan.card`        TLS, the card connects: certifies the keys that are made in here
//!   /init ───  port `bartizan.hypervisor`  TLS, the hypervisor connects: asks for decisions
//!              port `bartizan.verifier`    TLS, the enclave connects: policies, commands, evidence
//! ```
//!
//! Until the card has certified it, and has said what it keeps of an enclave before it, it serves nobody else.
//!
//! | module | concept |
//! |---|---|
//! | [`machine`] | the machine around the program: mounts, modules, ports, its end |
//! | [`config`] | the measured configuration |
//! | [`keys`] | the keys that are made in here, and what TLS shows of them |
//! | [`peers`] | who may be at the other end of a link |
//! | [`card`] | the link to the card |
//! | [`links`] | what is done on the other links |
//! | [`run`] | all links, kept |
//! | [`deciding`] | what flows may be; pure |
//! | [`ruling`] | what rules at present, shared by the links |
//! | [`hypervised`] | the link to the hypervisor: guests, and devices' questions |
//! | [`policing`] | the stream to the verifier: policies, trust, commands |
//! | [`witness`] | what happened and is in no evidence yet |
//! | [`sealed`] | what outlasts the machine, sealed and kept by the card |
//! | [`confinement`] | what the process gives up |

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod anchors;
pub mod card;
pub mod config;
pub mod confinement;
pub mod deciding;
pub mod hypervised;
pub mod keys;
pub mod links;
pub mod machine;
pub mod peers;
pub mod policing;
pub mod ruling;
pub mod run;
pub mod sealed;
pub mod witness;
