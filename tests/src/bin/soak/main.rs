//! Long runs of the real stack under kills, with a judgement at the end.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a soak prints its summary")]

mod attestation;
mod attesting;
mod chaos;
mod footprint;
mod journal;
mod ledger;
mod life;
mod network;
mod phases;
mod random;
mod summary;
mod visitor;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

/// Runs the real stack for long, and lets it suffer.
#[derive(Parser)]
struct Arguments {
    /// Which.
    name: Name,
    /// For how long, without set-up and final checks.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..))]
    minutes: u64,
    /// What the kills are drawn from; by default a new one.
    #[arg(long)]
    seed: Option<u64>,
    /// Write the summary, one object, to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// Two guests attest without pause while daemons are killed.
    Attestation,
    /// A server, its client and a guest that floods, while policies change and daemons are killed.
    Network,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let seed = match arguments.seed {
        Some(seed) => seed,
        None => random::fresh_seed()?,
    };
    eprintln!("\u{25b8} seed {seed}: repeat with --seed {seed}");
    let summary = match arguments.name {
        Name::Attestation => attestation::run(arguments.minutes, seed)?,
        Name::Network => network::run(arguments.minutes, seed)?,
    };
    print!("{summary}");
    if let Some(file) = arguments.json {
        std::fs::write(&file, serde_json::to_vec_pretty(&summary)?)
            .with_context(|| format!("{} could not be written", file.display()))?;
    }
    Ok(if summary.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
