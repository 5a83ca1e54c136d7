//! `cargo xtask bench network`: how many frames guests' network devices move, beside what the same devices move with nobody judging,
//! with one flow, and beside dpdk-testpmd, in the same run and round by round.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod beside;
mod decider;
mod flood;
mod flows;
mod frame;
mod front;
mod guest;
mod logged;
mod memory;
mod pair;
mod ring;
mod served;
mod told;
mod unjudged;

use std::path::PathBuf;

use anyhow::{Context, Result};
use bartizan_measuring::Outcome;
use clap::Parser;

/// Measures network devices.
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
    ("fps_64", || memory::run("fps_64", 64)),
    ("fps_1514", || memory::run("fps_1514", 1514)),
    ("fps_65535", || memory::run("fps_65535", 65_535)),
    ("logged_64", || logged::run("logged_64", 64)),
    ("logged_1514", || logged::run("logged_1514", 1514)),
    ("logged_65535", || logged::run("logged_65535", 65_535)),
    ("flows_10k", || flows::ten_thousand("flows_10k", 0.75)),
    ("flows_1m", || flows::million("flows_1m", 0.5)),
    ("testpmd_64", || beside::run("testpmd_64", 64)),
    ("flood_others", || flood::run("flood_others")),
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
