//! `cargo xtask`: everything that one does with the project, each from nothing.
//!
//! This program depends on none of the project's crates, so that it starts quickly and works while
//! they do not compile; what needs them is built and run by it.

#![forbid(unsafe_code)]

mod artifacts;
mod bench;
mod check;
mod components;
mod cpio;
mod demo;
mod enclave_image;
mod enclave_kernel;
mod fuzz;
mod guest_image;
mod kernels;
mod layers;
mod network;
mod policy;
mod progress;
mod reproduce;
mod sh;
mod soak;
mod test;
mod users;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use soak::Soak;

/// Sets up, demonstrates, tests and checks Bartizan.
#[derive(Parser)]
#[command(name = "cargo xtask", after_help = "Example: cargo xtask demo")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what the demo and the tests need (Debian packages, system users).
    Setup,
    /// Run the main job on real parts: a guest proves its memory, is granted, is tampered with, is denied.
    #[command(after_help = "Example: cargo xtask demo --json | jq .ok")]
    Demo {
        /// Print one JSON object instead of the summary.
        #[arg(long)]
        json: bool,
    },
    /// Set up, and run every test, the end-to-end tests on real QEMU included.
    #[command(after_help = "Example: cargo xtask test survival::")]
    Test {
        /// Run only the end-to-end tests whose name contains this; unit tests are `cargo test`'s.
        filter: Option<String>,
    },
    /// Formatting, clippy, dependency rules, documentation, licences.
    Check,
    /// Build the enclave's own kernel, which its machine starts sooner from than from Debian's, and in less memory.
    #[command(after_help = "Example: cargo xtask enclave-kernel --check")]
    EnclaveKernel {
        /// Boot a whole stack with it, and have the enclave killed there.
        #[arg(long)]
        check: bool,
    },
    /// Build the enclave's image twice, in folders of different names, and compare the two.
    #[command(after_help = "Example: cargo xtask reproduce --kernel")]
    Reproduce {
        /// As the tests build it, rather than as it is released.
        #[arg(long)]
        debug: bool,
        /// The enclave's own kernel, too.
        #[arg(long)]
        kernel: bool,
    },
    /// Compare the crates' dependencies with the table in ARCHITECTURE.md.
    Layers,
    /// Measure what SPECIFICATION.md promises, on the real stack in release build.
    #[command(after_help = "Example: cargo xtask bench memory --json memory.json")]
    Bench {
        /// Which suite: memory, card, enclave, network, policy.
        suite: String,
        /// Write the outcomes, an array of objects, to this file.
        #[arg(long)]
        json: Option<PathBuf>,
        /// Only cases whose name begins so.
        #[arg(long)]
        case: Option<String>,
    },
    /// Run the real stack for long, and let it suffer; or have millions of policies and requests decided in two ways.
    #[command(after_help = "Example: cargo xtask soak attestation --minutes 480")]
    Soak {
        /// Which: attestation, network, policy.
        name: String,
        /// For how long; by default an hour.
        #[arg(long)]
        minutes: Option<u64>,
        /// Of `policy`: how many pairs of policies and a request; by default ten million.
        #[arg(long)]
        pairs: Option<u64>,
        /// What it is drawn from; by default a new one, which is printed.
        #[arg(long)]
        seed: Option<u64>,
        /// Write what came of it, one object, to this file.
        #[arg(long)]
        json: Option<PathBuf>,
    },
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

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        // The causes alone: a backtrace of this program says nothing of what failed in another.
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Setup => components::setup(),
        Command::Demo { json } => demo::run(json),
        Command::Test { filter } => test::run(filter.as_deref()),
        Command::Check => check::run(),
        Command::EnclaveKernel { check } => enclave_kernel::run(check),
        Command::Reproduce { debug, kernel } => {
            let build = match debug {
                true => demo::Build::Debug,
                false => demo::Build::Release,
            };
            reproduce::run(build, kernel)
        }
        Command::Layers => layers::run(),
        Command::Bench { suite, json, case } => {
            bench::run(&suite, json.as_deref(), case.as_deref())
        }
        Command::Soak {
            name,
            minutes,
            pairs,
            seed,
            json,
        } => soak::run(
            &name,
            &Soak {
                minutes,
                pairs,
                seed,
                json: json.as_deref(),
            },
        ),
        Command::Fuzz { seconds, filter } => fuzz::run(seconds, filter.as_deref()),
    }
}
