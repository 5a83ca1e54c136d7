//! A process with huge pages that waits.

#![expect(unsafe_code, reason = "mapping memory is unsafe by its nature")]

use std::io::Write;
use std::{ptr, slice};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

/// Bytes of a huge page.
const HUGE: usize = 2 << 20;
/// Huge pages that the kernel sets aside.
const POOL: &str = "/proc/sys/vm/nr_hugepages";

/// Fills `count` huge pages, each word with its own number, prints its pid and their address, and waits to be killed.
pub(crate) fn run(kind: &str, count: usize) -> anyhow::Result<()> {
    let size = count * HUGE;
    let start = match kind {
        "reserved" => {
            std::fs::write(POOL, count.to_string())?;
            map(size, MapFlags::HUGETLB)?
        }
        "transparent" => {
            // As much more as it takes to begin at a huge page's boundary.
            let mapping = map(size + HUGE, MapFlags::empty())?;
            let start = mapping.wrapping_byte_add(mapping.addr().wrapping_neg() % HUGE);
            // SAFETY: within the mapping just made; the advice changes nothing of what it holds.
            unsafe { madvise(start.cast(), size, Advice::LinuxHugepage) }?;
            start
        }
        other => anyhow::bail!("no huge pages are called {other}"),
    };
    // SAFETY: within the mapping, aligned, zeroed by the kernel, and nothing else refers to it.
    let words = unsafe { slice::from_raw_parts_mut(start, size / size_of::<u64>()) };
    for (number, word) in words.iter_mut().enumerate() {
        *word = number as u64;
    }
    let mut output = std::io::stdout();
    writeln!(output, "{} {:#x}", std::process::id(), start.addr())?;
    output.flush()?;
    loop {
        std::thread::park();
    }
}

fn map(size: usize, flags: MapFlags) -> anyhow::Result<*mut u64> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::PRIVATE | flags;
    // SAFETY: the kernel chooses an address that nothing else is at.
    Ok(unsafe { mmap_anonymous(ptr::null_mut(), size, protection, flags) }?.cast())
}
