//! A process that maps some bytes of a file executable and waits: what a guest would show instead of the
//! program that it tampered with.

#![expect(unsafe_code, reason = "mapping a file is unsafe by its nature")]

use std::fs::File;
use std::io::Write;
use std::ptr;

use anyhow::Context;
use rustix::mm::{MapFlags, ProtFlags, mmap};

/// Maps `size` bytes of a file from `offset` readable and executable without touching them, prints its pid
/// and the mapping's address, and waits to be killed.
pub(crate) fn run(file: &str, offset: u64, size: usize) -> anyhow::Result<()> {
    let file = File::open(file).with_context(|| format!("could not open {file}"))?;
    let (protection, flags) = (ProtFlags::READ | ProtFlags::EXEC, MapFlags::PRIVATE);
    // SAFETY: the kernel chooses an address that nothing else is at, and nothing here refers to the mapping.
    let mapping = unsafe { mmap(ptr::null_mut(), size, protection, flags, &file, offset) }?;
    let mut output = std::io::stdout();
    writeln!(output, "{} {:#x}", std::process::id(), mapping.addr())?;
    output.flush()?;
    loop {
        std::thread::park();
    }
}
