//! `cargo xtask bench policy`: how long a decision takes, beside what the engines take that others decide with, in the same run and
//! round by round; and how long policies take to compile.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod cedar;
mod compiling;
mod decisions;
mod rego;
mod workload;

use std::path::PathBuf;

use anyhow::{Context, Result};
use bartizan_measuring::Outcome;
use clap::Parser;

const SUITE: &str = "policy";

/// Measures decisions.
#[derive(Parser)]
struct Arguments {
    /// Write the outcomes, an array of objects, to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Only cases whose name begins so.
    #[arg(long, default_value = "")]
    case: String,
}

type Case = (&'static str, fn() -> Result<Outcome>);

const CASES: &[Case] = &[
    ("decide_10", || {
        decisions::against_cedar("decide_10", 10, 0.05)
    }),
    ("decide_1000", || {
        decisions::against_cedar("decide_1000", 1000, 0.01)
    }),
    ("decide_10000", || {
        decisions::against_cedar("decide_10000", 10_000, 0.01)
    }),
    ("regorus_1000", || {
        decisions::against_regorus("regorus_1000", 1000)
    }),
    ("growth", || decisions::growth("growth", 10, 10_000)),
    ("compile_10000", || compiling::run("compile_10000", 10_000)),
];

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut outcomes = Vec::new();
    for (name, run) in CASES {
        if name.starts_with(&arguments.case) {
            let outcome = run()?;
            print!("{outcome}");
            outcomes.push(outcome);
        }
    }
    if let Some(file) = arguments.json {
        std::fs::write(&file, serde_json::to_vec_pretty(&outcomes)?)
            .with_context(|| format!("{} could not be written", file.display()))?;
    }
    Ok(())
}
