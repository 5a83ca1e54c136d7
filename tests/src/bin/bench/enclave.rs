//! What the enclave's machine costs: its start beside its bare kernel's, a decision beside a bare round trip over the same link, memory and
//! image beside those of a machine that does nothing.

mod first_packet;
mod hypervisor;
mod machine;
mod sizes;
mod start;

use anyhow::Result;
use bartizan_measuring::Outcome;
use bartizan_tests::stack::Stack;
use machine::Machines;

const SUITE: &str = "enclave";

/// Runs the cases whose name begins so.
pub(crate) fn run(wanted: &str) -> Result<Vec<Outcome>> {
    let mut stack = Stack::start()?;
    let mut outcomes = Vec::new();
    if first_packet::NAME.starts_with(wanted) {
        outcomes.push(first_packet::run(&mut stack)?);
    }
    // The stack's own enclave would be in the way of these.
    let machines = Machines::beside(&stack)?;
    for (name, run) in [
        (start::NAME, start::run as fn(&Machines) -> Result<Outcome>),
        (sizes::MEMORY, sizes::memory),
        (sizes::IMAGE, sizes::image),
    ] {
        if name.starts_with(wanted) {
            outcomes.push(run(&machines)?);
        }
    }
    Ok(outcomes)
}
