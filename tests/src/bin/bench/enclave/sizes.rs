//! The smallest RAM that the enclave's channel comes up in, and what its machine is started from, beside those of a machine that does nothing.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use bartizan_measuring::{Better, Outcome};

use super::SUITE;
use super::machine::Machines;
use super::start::MEMORY_MIB;

pub(super) const MEMORY: &str = "smallest_memory";
pub(super) const IMAGE: &str = "image_size";
/// The same of the enclave's own kernel.
pub(super) const MEMORY_OWN: &str = "smallest_memory_own_kernel";
pub(super) const IMAGE_OWN: &str = "image_size_own_kernel";
/// In MiB: how finely it is looked.
const STEP_MIB: u32 = 4;

pub(super) fn memory(case: &'static str, machines: &Machines) -> Result<Outcome> {
    eprintln!("\u{25b8} {case}");
    let of_enclave = smallest(|mib| Ok(machines.until_channel(mib)?.is_some()))?;
    let of_bare = smallest(|mib| Ok(machines.until_init(mib)?.is_some()))?;
    eprintln!("\u{2713} {case}");
    let reference = "the same kernel until a first process says that it is there";
    Ok(outcome(
        case,
        of_enclave.into(),
        (reference, of_bare.into()),
        1.2,
    ))
}

pub(super) fn image(case: &'static str, machines: &Machines) -> Result<Outcome> {
    let size = |folder: &Path| -> Result<f64> {
        let of = |path: &Path| anyhow::Ok(fs::metadata(path)?.len());
        let bytes = u32::try_from(of(&machines.kernel)? + of(&folder.join("image"))?)?;
        Ok(f64::from(bytes) / f64::from(1 << 20))
    };
    let of_enclave = size(&machines.layout.enclave)?;
    let of_bare = size(&machines.layout.bare_enclave)?;
    let reference = "the same kernel and drivers with a first process that does nothing";
    Ok(outcome(case, of_enclave, (reference, of_bare), 1.5))
}

/// The smallest that is enough, where more is.
fn smallest(mut is_enough: impl FnMut(u32) -> Result<bool>) -> Result<u32> {
    let (mut too_little, mut enough) = (0, MEMORY_MIB / STEP_MIB);
    let all = is_enough(MEMORY_MIB)?;
    all.then_some(()).context("the default is not enough")?;
    while enough - too_little > 1 {
        let middle = too_little.midpoint(enough);
        match is_enough(middle * STEP_MIB)? {
            true => enough = middle,
            false => too_little = middle,
        }
    }
    Ok(enough * STEP_MIB)
}

fn outcome(
    case: &'static str,
    value: f64,
    (reference, reference_value): (&'static str, f64),
    goal: f64,
) -> Outcome {
    Outcome {
        suite: SUITE,
        case,
        value,
        unit: "MiB",
        reference,
        reference_value,
        ratio: value / reference_value,
        better: Better::Lower,
        goal,
        rounds: 1,
        spread: 0.0,
        parts: Vec::new(),
    }
}
