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

/// All processes but guests' QEMU, whose memory is the guest's affair, by name.
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
        raise(known, name.into(), Process::of(daemon.pid()?)?)?;
    }
    let keeper = Process::of(stack.host.keeper().pid()?)?;
    raise(known, "keeper".into(), keeper)?;
    raise(known, "QEMU of the enclave".into(), stack.host.enclave()?)?;
    for guest in guests {
        let shown = stack.operator.must(&["vm", "show", guest])?;
        let measurer = Process::of_json(&shown["measurer_pid"])?;
        raise(known, format!("measurer of {guest}"), measurer)?;
        raise(known, format!("supervisor of {guest}"), measurer.parent()?)?;
    }
    Ok(())
}

/// What has grown beyond bounds. Guests ask alike, and at random: what one guest's process needed late and another's early, such as
/// room for the largest of all requests, is no leak.
pub(crate) fn grown(early: &Footprints, late: &Footprints) -> Vec<String> {
    let mut grown = Vec::new();
    for (name, late) in late {
        let alike = early.iter().filter(|(other, _)| is_alike(name, other));
        let Some(early) = alike.map(|(_, early)| *early).reduce(Footprint::max) else {
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

/// The same process, or the same one of another guest.
fn is_alike(name: &str, other: &str) -> bool {
    let of_a_guest = |kind: &str| name.starts_with(kind) && other.starts_with(kind);
    name == other
        || ["measurer of ", "supervisor of "]
            .into_iter()
            .any(of_a_guest)
}

fn raise(known: &mut Footprints, name: String, process: Process) -> Result<()> {
    let now = Footprint {
        memory: process.own_memory()?,
        descriptors: process.open_descriptors()?,
        threads: process.status("Threads")?.parse()?,
    };
    let seen = known.entry(name).or_default();
    *seen = seen.max(now);
    Ok(())
}

impl Footprint {
    fn max(self, other: Self) -> Self {
        Self {
            memory: self.memory.max(other.memory),
            descriptors: self.descriptors.max(other.descriptors),
            threads: self.threads.max(other.threads),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(mebibytes: [(&str, u64); 3]) -> Footprints {
        let one = |(name, memory): (&str, u64)| {
            let footprint = Footprint {
                memory: memory << 20,
                ..Footprint::default()
            };
            (name.to_owned(), footprint)
        };
        mebibytes.map(one).into()
    }

    #[test]
    fn guests_processes_grow_as_far_as_their_like_and_no_farther() {
        let early = held([("measurer of one", 9), ("measurer of two", 20), ("card", 4)]);
        let alike = held([
            ("measurer of one", 21),
            ("measurer of two", 20),
            ("card", 4),
        ]);
        assert!(grown(&early, &alike).is_empty());
        let leaks = held([
            ("measurer of one", 9),
            ("measurer of two", 30),
            ("card", 20),
        ]);
        assert_eq!(grown(&early, &leaks).len(), 2);
    }
}
