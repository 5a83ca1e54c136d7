//! Code that runs and is on no list.
//!
//! Known attack: munmap(2) takes a mapping off the kernel's list first and its pages out of the page tables afterwards;
//! mprotect(2) withdraws the right to execute in the same order. A thread whose work takes long, since its mapping is
//! huge or its share of the processor tiny, leaves another one executing code that no list holds. So the page tables
//! are searched for all that user mode can execute, and what is outside the executable mappings is a refusal.

use std::ops::ControlFlow;

use bartizan_attestation::measurement::Refusal;
use bartizan_guest_memory::walk::each_executable;
use bartizan_guest_memory::{Gva, PhysicalMemory};
use bartizan_introspection::process::Process;

/// Most page tables of a process that are read: those of 128 GiB in pages of 4 KiB.
const MAX_TABLES: usize = 1 << 16;

/// Refuses a process that can execute more than its executable mappings.
pub(crate) fn refuse(ram: &impl PhysicalMemory, process: &Process) -> Result<(), Refusal> {
    let found = each_executable(ram, process.root, MAX_TABLES, |page| {
        match process.first_not_executable(page) {
            Some(at) => ControlFlow::Break(at),
            None => ControlFlow::Continue(()),
        }
    });
    let pid = process.pid;
    match found {
        Ok(ControlFlow::Continue(())) => Ok(()),
        Ok(ControlFlow::Break(Gva(at))) => Err(Refusal::InconsistentMemory(format!(
            "process {pid} can execute the page at {at:#x}, which is in none of its executable mappings; ask again"
        ))),
        Err(error) => Err(Refusal::InconsistentMemory(format!(
            "process {pid}: {error}"
        ))),
    }
}
