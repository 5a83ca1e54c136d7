//! What the parts of Bartizan say to one another about attestation: requests, reports,
//! certificates, application profiles, appraisal and results. Everything here is pure: bytes
//! become types that can only be right, and types become bytes; nothing opens a file or a socket.
//!
//! Words are those of RATS (RFC 9334). Encodings are deterministic CBOR (RFC 8949 section 4.2)
//! in COSE_Sign1 (RFC 9052 section 4.2), X.509 (RFC 5280) and JWT (RFC 7519).
//!
//! | module | concept |
//! |---|---|
//! | [`measurement`] | what a guest asks to be measured, and the report of it |
//! | [`identity`] | who a host or guest is |
//! | [`launch`] | the signed record from which a guest is started |
//! | [`cose`], [`cbor`] | signed messages and their one encoding |
//! | [`boot`] | the measured boot of a host |
//! | [`digest`] | flat digests and Merkle trees over pages |
//! | [`certificates`], [`csr`] | who certifies whom, for what |
//! | [`profile`] | the reference values of an application |
//! | [`appraisal`] | what a verified report is worth against them |
//! | [`result`] | the signed result of an appraisal: EAR as a JWT |
//! | [`evidence`] | what an enclave states of what it decided and did |
//! | [`operation`] | what an operator orders a host to do, and the log of it |
//! | [`rotation`] | an administrator's order to replace the fleet CA |
//! | [`renewal`] | a guest's key, renewed within its boot |
//! | [`succession`] | a card's identity key names the one that comes after it |
//! | [`tpm`] | what a TPM shows of itself, and how it has to prove it |
//! | [`keys`] | typed key purposes and what a vault is asked |
//! | [`vault_counter`] | how a copy of a vault is noticed |
//! | [`host`] | what the processes of one host tell one another |

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

pub mod appraisal;
pub mod certificates;
pub mod csr;
pub mod digest;
pub mod evidence;
pub mod host;
pub mod identity;
pub mod keys;
pub mod launch;
pub mod measurement;
pub mod operation;
pub mod profile;
pub mod renewal;
pub mod result;
pub mod rotation;
pub mod succession;
mod text;
pub mod tpm;
pub mod vault_counter;

pub use bartizan_boot as boot;
pub use bartizan_cose as cose;
pub use bartizan_cose::cbor;
