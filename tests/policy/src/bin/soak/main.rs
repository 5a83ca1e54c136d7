//! `cargo xtask soak policy`: the compiled form of policies decides as the plain one on millions of pairs of policies and a request.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a soak prints its summary")]

mod drawn;
mod pairs;
mod smallest;
mod summary;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use uuid::Uuid;

/// Compares the compiled form of policies with the plain one.
#[derive(Parser)]
struct Arguments {
    /// How many pairs of policies and a request: 400 requests are decided by each set of policies.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pairs: u64,
    /// What the first set of policies is drawn from, and the next ones from the numbers after it; by default a new one.
    #[arg(long)]
    seed: Option<u64>,
    /// Write the summary, one object, to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let fresh = || u64::from(Uuid::new_v4().as_fields().0);
    let seed = arguments.seed.unwrap_or_else(fresh);
    eprintln!("\u{25b8} seed {seed}: repeat with --seed {seed}");
    let summary = pairs::run(arguments.pairs, seed)?;
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
