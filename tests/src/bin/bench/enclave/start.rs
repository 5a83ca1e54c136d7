//! From the start of the enclave's QEMU to its channel, against the same kernel's to a process that says that it is there.

use anyhow::{Context, Result};
use bartizan_measuring::{Better, Outcome, Part, Samples, rounds};

use super::SUITE;
use super::machine::Machines;

pub(super) const NAME: &str = "start";
/// Of the enclave's own kernel.
pub(super) const NAME_OWN: &str = "start_own_kernel";
const WARM_UP: usize = 1;
const ROUNDS: usize = 11;
/// RAM in MiB, as a keeper's configuration has it by default.
pub(super) const MEMORY_MIB: u32 = 128;

pub(super) fn run(case: &'static str, machines: &Machines) -> Result<Outcome> {
    let (mut channel, mut init) = (Samples::default(), Samples::default());
    rounds(case, WARM_UP, ROUNDS, |counts| {
        let value = machines.until_channel(MEMORY_MIB)?;
        let reference = machines.until_init(MEMORY_MIB)?;
        if counts {
            channel.add(value.context("the enclave's machine does not come up")?);
            init.add(reference.context("the bare machine does not come up")?);
        }
        Ok(())
    })?;
    let [value, reference_value] = [&channel, &init].map(|samples| samples.median() * 1e3);
    Ok(Outcome {
        suite: SUITE,
        case,
        value,
        unit: "ms",
        reference: "the same kernel and QEMU until a first process says at the console that it is there",
        reference_value,
        ratio: value / reference_value,
        better: Better::Lower,
        goal: 1.3,
        rounds: ROUNDS,
        spread: channel.spread(),
        parts: vec![Part {
            name: "drivers, keys, the handshake with the card, its first question".into(),
            milliseconds: value - reference_value,
            counted: false,
        }],
    })
}
