//! The operator's command line: what it does, without how it is called.

#![forbid(unsafe_code)]

pub mod profile;
pub mod release;
