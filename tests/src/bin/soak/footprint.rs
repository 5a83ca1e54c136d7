//! What each process holds, early and late: a leak shows as growth.

use std::collections::BTreeMap;

use anyhow::Result;
use bartizan_tests::process::Process;
use bartizan_tests::stack::Stack;
use serde::Serialize;

/// By how much a process may grow between two looks at it.
const MEMORY: u64 = 4 << 20;
const DESCRIPTORS: usize = 8;
const THREADS: u64 = 4;

/// The most that a process held while it was looked at.
#[derive(Clone, Copy, Default, Debug, Serialize)]
pub(crate) struct Footprint {
    /// Memory of its own in bytes.
    pub(crate) memory: u64,
    pub(crate) descriptors: usize,
    pub(crate) threads: u64,
}

/// All processes but QEMU, whose memory is the guest's affair, by name.
pub(crate) type Footprints = BTreeMap<String, Footprint>;

/// Looks at all processes and raises what is known of them.
pub(crate) fn look(stack: &Stack, guests: &[&str], known: &mut Footprints) -> Result<()> {
    let daemons = [
        ("card", &stack.host.card),
        ("devices", &stack.host.devices),
        ("hypervisor", &stack.host.hypervisor),
        ("vault of the host", &stack.host.vault),
        ("vault of the verifier", &stack.verifier_vault),
        ("verifier", &stack.verifier),
    ];
    for (name, daemon) in daemons {
        raise(known, name.into(), Process::of(daemon.pid())?)?;
    }
    for guest in guests {
        let shown = stack.operator.must(&["vm", "show", guest])?;
        let measurer = Process::of_json(&shown["measurer_pid"])?;
        raise(known, format!("measurer of {guest}"), measurer)?;
        raise(known, format!("supervisor of {guest}"), measurer.parent()?)?;
    }
    Ok(())
}

/// What has grown beyond bounds.
pub(crate) fn grown(early: &Footprints, late: &Footprints) -> Vec<String> {
    let mut grown = Vec::new();
    for (name, late) in late {
        let Some(early) = early.get(name) else {
            continue;
        };
        let bounds = Footprint {
            memory: early.memory + early.memory / 4 + MEMORY,
            descriptors: early.descriptors + DESCRIPTORS,
            threads: early.threads + THREADS,
        };
        let within = late.memory <= bounds.memory
            && late.descriptors <= bounds.descriptors
            && late.threads <= bounds.threads;
        if !within {
            grown.push(format!("{name} grew from {early:?} to {late:?}"));
        }
    }
    grown
}

fn raise(known: &mut Footprints, name: String, process: Process) -> Result<()> {
    let seen = known.entry(name).or_default();
    seen.memory = seen.memory.max(process.own_memory()?);
    seen.descriptors = seen.descriptors.max(process.open_descriptors()?);
    seen.threads = seen.threads.max(process.status("Threads")?.parse()?);
    Ok(())
}
