//! Code that runs and is on no list.
//!
//! Known attack: munmap(2) takes a mapping off the kernel's list first and its pages out of the page tables afterwards;
//! mprotect(2) withdraws the right to execute in the same order. A thread whose work takes long, since its mapping is
//! huge or its share of the processor tiny, leaves another one executing code that no list holds. So the page tables
//! are searched for all that user mode can execute, and what is outside the executable mappings is a refusal.
//!
//! The search is made while the guest stands still. Known attack: page tables that lead to themselves, in many
//! processes, make every pause last. So all processes of a request share one budget of tables ([`budget`]).

use std::ops::{ControlFlow, Range};

use bartizan_attestation::measurement::Refusal;
use bartizan_guest_memory::walk::{Root, TableBudget, TablesError, each_executable};
use bartizan_guest_memory::{Gva, PhysicalMemory};
use bartizan_introspection::process::Process;

/// Most page tables that one resolution of a request reads, of all its processes together: those of 128 GiB in pages
/// of 4 KiB.
const MAX_TABLES: usize = 1 << 16;

/// What one resolution of a request may read.
pub(crate) const fn budget() -> TableBudget {
    TableBudget::new(MAX_TABLES)
}

/// Refuses a process that can execute more than its executable mappings.
pub(crate) fn refuse(
    ram: &impl PhysicalMemory,
    process: &Process,
    tables: &mut TableBudget,
) -> Result<(), Refusal> {
    let outside = |page| process.first_not_executable(page);
    search(ram, process.pid, process.root, tables, outside)
}

/// Refuses a process that can execute a page of which `outside` names an address.
fn search(
    ram: &impl PhysicalMemory,
    pid: u32,
    root: Root,
    tables: &mut TableBudget,
    outside: impl Fn(Range<u64>) -> Option<Gva>,
) -> Result<(), Refusal> {
    let found = each_executable(ram, root, tables, |page| match outside(page) {
        Some(at) => ControlFlow::Break(at),
        None => ControlFlow::Continue(()),
    });
    match found {
        Ok(ControlFlow::Continue(())) => Ok(()),
        Ok(ControlFlow::Break(Gva(at))) => Err(Refusal::InconsistentMemory(format!(
            "process {pid} can execute the page at {at:#x}, which is in none of its executable mappings; ask again"
        ))),
        Err(TablesError::TooMany { limit }) => Err(Refusal::TooManyPageTables {
            pid,
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
        }),
        Err(TablesError::Walk(error)) => Err(Refusal::InconsistentMemory(format!(
            "process {pid}: {error}"
        ))),
    }
}

#[cfg(test)]
mod tests;
