//! The measured boot of a host: what may be started, in which order, and what was.
//!
//! ```text
//! Manifest (signed offline) ──► VerifiedManifest ──► Sequence ──► events ──► registers, extend-only
//!   what may be started                              one order       └────► EventLog, which replays to them
//! ```
//!
//! | phase | what is measured in it | what its end opens |
//! |---|---|---|
//! | 1 card | vault, card, their configurations, the coordinator's first stage | the host's identity and TLS keys |
//! | 2 devices | devices, QEMU with its firmware and libraries | |
//! | 3 coordinator | the coordinator's second stage, from a signed bundle | |
//! | 4 hypervisor | hypervisor, supervisor, measurer | certificates of report and guest keys |
//! | 5 enclave | the enclave's kernel, image and command line | certificates of evidence keys |
//!
//! The launcher, the vault and whoever appraises a host walk the same [`Sequence`]: the launcher before it starts anything, the
//! vault before it opens a key, an appraiser over the log.
//!
//! What the host's own firmware measured before is another log, in another format: [`FirmwareLog`].
//!
//! | attack | answer |
//! |---|---|
//! | a program or configuration that was changed | its digest is not in the manifest: the sequence fails, for good |
//! | an old release with a known hole | versions go up only; the vault keeps the lowest that it still accepts |
//! | something is measured late, twice, or not at all | each phase has one order, and ends only when all of it was measured |
//! | an event is dropped, swapped or added | the log does not replay to the registers, or is not a walk through the sequence |
//! | a manifest passed off as another message | its media type is part of what is signed |

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

mod appraisal;
mod bundle;
mod capability;
mod component;
mod event;
mod fetch;
mod firmware_log;
mod link;
mod log;
mod manifest;
mod phase;
mod register;
mod sequence;
mod sha384;

pub use appraisal::{AppraisedBoot, BootAppraisalError};
pub use bundle::{Bundle, BundleError, File, UnfitBundleError};
pub use capability::{Capability, UnknownCapability};
pub use component::{Component, ComponentError, Link, Start, placeholder};
pub use event::{Event, Measured};
pub use fetch::{BundleRefusal, BundleReply, BundleRequest};
pub use firmware_log::{Bank, EventType, FirmwareEvent, FirmwareLog, FirmwareLogError, PcrValue};
pub use link::{CoordinatorAnswer, CoordinatorStep, VaultAnswer, VaultStep};
pub use log::{EventLog, LogError, RecordError};
pub use manifest::{Manifest, ManifestError, SignManifestError, VerifiedManifest};
pub use phase::{Part, Phase};
pub use register::{Register, RegisterValues};
pub use sequence::{Refusal, Sequence};
pub use sha384::{Hasher, NoDigest, Sha384};

#[cfg(test)]
mod tests;
