//! Files, TCP and signals (landlock(7)): rules as data, and the domain made from them.
//!
//! Whatever no rule grants is refused: opening, executing, making or removing anything by a path, binding and
//! connecting over TCP, signals and abstract sockets to processes outside of the domain. What descriptors lead to
//! stays open, and so do Unix sockets that have a path: a socket's server asks who connects.
//!
//! The first of Landlock's versions, which guards files, is what the design depends on: without it there is no domain
//! but an error. What came later is taken where the kernel has it, and said to be missing where not.

mod domain;
mod rules;

pub use domain::{AccessError, Domain};
pub use rules::{Rights, Rules};
