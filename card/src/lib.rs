//! The offload card: the host's identity towards the fleet. It has the vault certify what runs on the host, counts
//! boots, and is the only process of the host that speaks to the verifier. It holds no key and decides no policy.
//!
//! | module | concept |
//! |---|---|
//! | [`vault`] | asking the vault |
//! | [`identity`] | the TLS identity, rotated at half its life |
//! | [`verifier`] | nonces and judgements over TLS 1.3 |
//! | [`bundles`] | what the coordinator's first stage has fetched |
//! | [`enclave`] | the enclave's links: to the card, and to the verifier |
//! | [`boots`] | boot counters, durable before they are told |
//! | [`enroll`] | becoming a host of the fleet, once |
//! | [`succession`] | staying one: at half of its life its certificate is followed by another, for another key |
//! | [`operators`] | whether who signed a launch record is revoked |
//! | `standings` | questions of that, few of one operator's at once |
//! | [`unenrolled`] | a host that has no identity yet |
//! | [`operations`] | what operators order, and the log of it |
//! | [`machine`], [`reporting_in`] | what this machine is, and telling the verifier, so that a copy of the vault is noticed |
//! | [`service`] | what the hypervisor may ask |

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

mod allowance;
pub mod anchors;
pub mod boots;
pub mod bundles;
pub mod config;
pub mod confinement;
mod door;
mod durable;
pub mod enclave;
pub mod enroll;
pub mod identity;
pub mod machine;
pub mod operations;
pub mod operators;
pub mod reporting_in;
pub mod server;
pub mod service;
mod standings;
pub mod succession;
pub mod unenrolled;
pub mod vault;
pub mod verifier;

pub use config::Config;

/// Seconds since the Unix epoch.
pub(crate) fn unix_now() -> u64 {
    use std::time::{SystemTime, UNIX_EPOCH};
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
