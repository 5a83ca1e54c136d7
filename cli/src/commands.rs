//! The commands, a file each.

pub(crate) mod boot;
pub(crate) mod enclave;
pub(crate) mod evidence;
pub(crate) mod firmware;
pub(crate) mod flow;
pub(crate) mod guest;
pub(crate) mod host;
pub(crate) mod key;
pub(crate) mod operator;
pub(crate) mod policies;
pub(crate) mod policy;
pub(crate) mod profile;
pub(crate) mod release;
pub(crate) mod revocation;
pub(crate) mod service;
pub(crate) mod verdict;
pub(crate) mod vm;
