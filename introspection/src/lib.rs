//! Understanding a Linux guest from outside: a profile of its kernel, made from the kernel's own bzImage, and
//! readers of the running kernel's objects over guest RAM.
//!
//! Everything here is pure: bytes in, values out. All of the bytes are foreign: the image comes from whoever
//! wrote the launch record, RAM from the guest. So every parser is bounded in time and memory and answers
//! nonsense with a typed error, and nothing here can panic or run forever.
//!
//! ```text
//! bzImage ─ bzimage ─► payload ─ payload ─► vmlinux (ELF) ─┬─ kallsyms ─► Symbols ─┐
//!                                                          └─ btf ──────► Btf ─────┴► KernelProfile
//! KernelProfile + guest RAM ─ Kernel::locate ─► Kernel (slide, page tables) ─► objects
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::panic, clippy::unreachable)]

pub mod btf;
pub mod bzimage;
pub mod kallsyms;
mod kernel;
mod little_endian;
pub mod payload;
pub mod process;
mod profile;
#[cfg(test)]
mod synthetic;
pub mod vmlinux;

pub use kernel::{Kernel, KernelPlace, LocateError};
pub use profile::{KernelProfile, ProfileError};
