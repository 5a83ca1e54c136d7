//! The real stack, started as an operator would start it: every process as its own user, real QEMU, a real
//! Debian guest. The demo and the end-to-end tests stand on this; nothing of it is in the product.

#![forbid(unsafe_code)]

pub mod accounts;
pub mod agent;
pub mod control_groups;
pub mod daemon;
pub mod enrolled;
pub mod hsm;
pub mod launcher;
pub mod layout;
pub mod maker;
pub mod network;
pub mod nginx;
pub mod operator;
pub mod process;
pub mod stack;
pub mod token;
