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
    let mut machines = Machines::beside(&stack)?;
    let [debians, own] = CASES;
    let mut measure = |machines: &Machines, cases: [Case; 3]| -> Result<()> {
        for (name, run) in cases {
            if name.starts_with(wanted) {
                outcomes.push(run(name, machines)?);
            }
        }
        Ok(())
    };
    measure(&machines, debians)?;
    match stack.layout.enclave_kernel.clone() {
        Some(kernel) => {
            machines.kernel = kernel;
            measure(&machines, own)?;
        }
        None => eprintln!("the enclave's own kernel is not built: `cargo xtask enclave-kernel`"),
    }
    Ok(outcomes)
}

/// A name, and what measures machines of one kernel under it.
type Case = (&'static str, fn(&'static str, &Machines) -> Result<Outcome>);

/// Of Debian's kernel, and of the enclave's own.
const CASES: [[Case; 3]; 2] = [
    [
        (start::NAME, start::run),
        (sizes::MEMORY, sizes::memory),
        (sizes::IMAGE, sizes::image),
    ],
    [
        (start::NAME_OWN, start::run),
        (sizes::MEMORY_OWN, sizes::memory),
        (sizes::IMAGE_OWN, sizes::image),
    ],
];
