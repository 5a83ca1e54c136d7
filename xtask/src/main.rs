//! `cargo xtask`: everything that one does with the project, each from nothing.
//!
//! This program depends on none of the project's crates, so that it starts quickly and works while
//! they do not compile; what needs them is built and run by it.

#![forbid(unsafe_code)]

mod artifacts;
mod check;
mod components;
mod demo;
mod fuzz;
mod guest_image;
mod kernels;
mod layers;
mod progress;
mod sh;
mod test;
mod users;

use clap::{Parser, Subcommand};

/// Sets up, demonstrates, tests and checks Bartizan.
#[derive(Parser)]
#[command(name = "cargo xtask", after_help = "Example: cargo xtask demo")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what the demo and the tests need (Debian packages, cargo-deny, system users).
    Setup,
    /// Run the main job on real parts: a guest proves its memory, is granted, is tampered with, is denied.
    #[command(after_help = "Example: cargo xtask demo --json | jq .ok")]
    Demo {
        /// Print one JSON object instead of the summary.
        #[arg(long)]
        json: bool,
    },
    /// Set up, check, and run every test, the end-to-end tests on real QEMU included.
    #[command(after_help = "Example: cargo xtask test end_to_end")]
    Test {
        /// Run only tests whose name contains this; skips the checks.
        filter: Option<String>,
    },
    /// Formatting, clippy, dependency rules, documentation, licences.
    Check,
    /// Compare the crates' dependencies with the table in ARCHITECTURE.md.
    Layers,
    /// Run every fuzz target for a while each.
    #[command(after_help = "Example: cargo xtask fuzz --seconds 600")]
    Fuzz {
        /// Seconds for each target.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Only targets whose name contains this.
        filter: Option<String>,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Setup => components::setup(),
        Command::Demo { json } => demo::run(json),
        Command::Test { filter } => test::run(filter.as_deref()),
        Command::Check => check::run(),
        Command::Layers => layers::run(),
        Command::Fuzz { seconds, filter } => fuzz::run(seconds, filter.as_deref()),
    }
}
