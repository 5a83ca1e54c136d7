//! The daemon as a whole, as its own process with all its confinement, against a driver that writes
//! virtqueues by hand over a real vhost-user link. Root's, since daemon and supervisors are two users.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod admitting;
mod attaching;
mod connections;
mod daemon;
mod driver;
mod halting;
mod hanging;
mod hostile;
mod network;
mod noting;
mod restart;
mod service;
mod testpmd;
