//! A small kernel made by hand, for tests: symbol table, types, ELF file, boot image, and RAM that it runs in.

mod btf;
mod image;
mod kallsyms;
mod ram;

pub(crate) use btf::BtfBuilder;
pub(crate) use image::{bzimage, vmlinux};
pub(crate) use kallsyms::{Layout, symbol_table};
pub(crate) use ram::{RunningKernel, landmark};

/// Where the image is linked: `_text`.
pub(crate) const TEXT: u64 = 0xffff_ffff_8100_0000;

/// Where its read-only data is linked.
pub(crate) const RODATA: u64 = TEXT + 0x10_0000;

/// What stands at `linux_banner`.
pub(crate) const BANNER: &str = "Linux version 6.1.0-test (made by hand) #1 SMP\n";
