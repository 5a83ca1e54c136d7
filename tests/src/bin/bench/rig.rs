//! The stack under measurement, and guests that may ask as fast as they can.

use std::fs::{self, File};

use anyhow::{Context, Result};
use bartizan_guest_memory::{Gpa, GuestRam, RamRange};
use bartizan_tests::enrolled::Enrolled;
use bartizan_tests::process::Process;
use bartizan_tests::stack::{Guest, GuestSpec, Stack};
use serde_json::json;

use crate::echo::Echo;

/// RAM of each guest: what is measured, and room to live.
const MEMORY_MIB: u64 = 1024;
/// Below are holes in the RAM of a PC.
const RAM_BEGIN: u64 = 1 << 20;

/// The stack and its guests.
pub(crate) struct Rig {
    // Guests before the stack: they are dropped in this order.
    pub(crate) first: Subject,
    pub(crate) stack: Stack,
}

/// A guest that is measured.
pub(crate) struct Subject {
    pub(crate) guest: Guest,
    pub(crate) enrolled: Enrolled,
    /// Its RAM, mapped as its measurer maps it.
    pub(crate) ram: GuestRam,
    /// Its neighbour behind the same device.
    pub(crate) echo: Echo,
}

impl Rig {
    pub(crate) fn start() -> Result<Self> {
        eprintln!("\u{25b8} start the stack, boot a guest");
        let stack = Stack::start()?;
        let first = Subject::boot(&stack, "first")?;
        eprintln!("\u{2713} {}", first.enrolled.guest);
        Ok(Self { first, stack })
    }
}

impl Subject {
    /// Boots a guest whose budget is the largest that a launch record can give.
    pub(crate) fn boot(stack: &Stack, name: &str) -> Result<Self> {
        let mut spec = GuestSpec::new(name);
        spec.memory_mib = MEMORY_MIB;
        // Emulated, they work on the same cores as everything that is measured.
        spec.cpus = 1;
        spec.services = &["test-agent", "echo"];
        spec.budget = Some(json!({
            "bytes_per_request": 512_u64 << 20,
            "concurrent": 64,
            "requests_per_minute": 60_000,
            "pause_ms_per_minute": 60_000,
        }));
        let mut guest = stack.host.boot(&spec)?;
        let enrolled = Enrolled::of(&mut guest)?;
        let shown = stack.operator.must(&["vm", "show", name])?;
        let ram = map(Process::of_json(&shown["qemu_pid"])?)?;
        let echo = Echo::serve(
            &stack
                .layout
                .path(&format!("run/agents/{}.echo", guest.uuid)),
        )?;
        Ok(Self {
            guest,
            enrolled,
            ram,
            echo,
        })
    }
}

/// Maps the RAM that a QEMU runs on, from its memfd.
fn map(qemu: Process) -> Result<GuestRam> {
    let descriptors = format!("/proc/{}/fd", qemu.pid());
    let ram = fs::read_dir(&descriptors)?.flatten().find(|entry| {
        fs::read_link(entry.path())
            .is_ok_and(|to| to.to_string_lossy().starts_with("/memfd:bartizan-ram"))
    });
    let file = File::open(ram.context("QEMU holds no RAM")?.path())?;
    let range = RamRange {
        address: Gpa(RAM_BEGIN),
        size: file.metadata()?.len() - RAM_BEGIN,
        file_offset: RAM_BEGIN,
    };
    Ok(GuestRam::map(&file, &[range])?)
}
