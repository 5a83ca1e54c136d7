//! The security enclave: what runs in a VM of its own, and decides what guests may do.

#![forbid(unsafe_code)]

pub mod deciding;
pub mod hypervised;
pub mod policing;
pub mod ruling;
