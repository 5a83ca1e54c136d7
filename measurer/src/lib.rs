//! The measurer: measures one guest's RAM and signs the report.
//!
//! One process a guest. It maps that guest's RAM read-only, holds a short-lived report key that it made
//! itself, and speaks to nobody but the guest's supervisor, over one socket:
//!
//! ```text
//! supervisor ──► Context ──► map RAM, make a key ──► CertificateNeeded ──► shut the sandbox
//!            ──► build the kernel profile (inside the sandbox, while the card certifies the key)
//!            ──► Measure: resolve ─► Pause ─► resolve again, copy ─► Resume ─► hash, sign ─► Measured
//! ```
//!
//! Where it can track who writes that RAM, it reads the pages before the pause, and copies in it only what was written since.
//!
//! Attacks, and the answers:
//!
//! | attack | answer |
//! |---|---|
//! | page tables, lists and trees in RAM that lie, loop or change while read | bounded readers over copies; the resolution that counts is made while the guest stands still |
//! | a region that costs a long pause | budgets before the pause, pages present before the pause, a lease that the supervisor ends by itself |
//! | page tables that cost a long pause, by their number or by leading to themselves | one budget of tables for all processes of a request; what the resolution before the pause took is in the lease |
//! | a snapshot torn because the lease ran out | the supervisor says so, the snapshot is void and wiped |
//! | pages that are written while they are read | they are told, and read anew while the guest stands still, or in a round that is followed by another look |
//! | a guest that writes faster than it is followed | memory for so many pages and no more; beyond it the guest stands still for all of them, and the report says so |
//! | a deleted or hidden executable under its old path | its path says so ([`bartizan_introspection::process`]) |
//! | code that executes and is in no mapping any more | the page tables are searched for all that user mode can execute |
//! | a counterfeit kernel in user memory | the kernel is found before user space runs, and none but it is looked at ever after |
//! | the measurer taken over through guest memory | no files, no network, no exec: Landlock and seccomp, shut before the first byte of guest RAM is read |
//!
//! Memory is bounded: one snapshot of at most the guest's budget of bytes a request, 16 bytes for each
//! contiguous piece of it (at most one a page), twice the page digests, and the kernel profile. A tree that is taken live has no
//! snapshot: a digest for each page, and 32 MiB at most.

mod contents;
mod extents;
mod guest_kernel;
mod hashing;
mod hidden_code;
mod link;
mod measuring;
mod report_key;
mod request;
mod sandbox;
mod serving;
mod snapshot;
mod snapshot_buffer;
mod targets;
mod tracking;
mod vdso;

pub use request::parse as parse_request;
pub use sandbox::SandboxError;
pub use serving::{Inputs, ServeError, serve};
pub use tracking::TrackingInputs;
