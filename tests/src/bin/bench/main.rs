//! Measures what SPECIFICATION.md promises, on the real stack: each case beside what bounds it, in the same run and
//! round by round, so that a busy machine slows both alike.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod card;
mod commit;
mod echo;
mod enclave;
mod exchange;
mod hashes;
mod network;
mod rate;
mod rig;
mod signatures;
mod tokens;

use std::path::PathBuf;

use anyhow::{Context, Result};
use bartizan_measuring::Outcome;
use clap::{Parser, ValueEnum};
use rig::Rig;

/// The suite of what measures memory.
pub(crate) const SUITE: &str = "memory";

/// Runs a suite of benchmarks on the real stack.
#[derive(Parser)]
struct Arguments {
    /// Which.
    suite: Suite,
    /// Write the outcomes, an array of objects, to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Only cases whose name begins so.
    #[arg(long, default_value = "")]
    case: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Suite {
    /// Hashing, request to token, requests a second.
    Memory,
    /// Signatures and certificates of the vaults, the measured boot, handshakes.
    Card,
    /// The enclave's machine: its start, a decision, its size.
    Enclave,
    /// Two real guests and their network.
    Network,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let outcomes = match arguments.suite {
        Suite::Memory => memory(&arguments.case)?,
        Suite::Card => card::run(&arguments.case)?,
        Suite::Enclave => enclave::run(&arguments.case)?,
        Suite::Network => network::run(&arguments.case)?,
    };
    for outcome in &outcomes {
        print!("{outcome}");
    }
    if let Some(file) = arguments.json {
        std::fs::write(&file, serde_json::to_vec_pretty(&outcomes)?)
            .with_context(|| format!("{} could not be written", file.display()))?;
    }
    Ok(())
}

fn memory(wanted: &str) -> Result<Vec<Outcome>> {
    let mut rig = Rig::start()?;
    let mut outcomes = Vec::new();
    for case in hashes::CASES
        .iter()
        .filter(|case| case.name.starts_with(wanted))
    {
        outcomes.push(case.run(&rig.first)?);
    }
    for case in tokens::CASES
        .iter()
        .filter(|case| case.name.starts_with(wanted))
    {
        outcomes.push(case.run(&mut rig)?);
    }
    if rate::NAME.starts_with(wanted) {
        outcomes.push(rate::run(&mut rig)?);
    }
    Ok(outcomes)
}
