//! The daemon as a whole, as its own process with all its confinement, against a driver that writes
//! virtqueues by hand over a real vhost-user link.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod attaching;
mod connections;
mod daemon;
mod driver;
mod hostile;
mod restart;
mod service;
