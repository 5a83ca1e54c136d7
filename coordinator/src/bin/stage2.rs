//! `bartizan-stage2`: the coordinator's second stage.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use bartizan_boot::{CoordinatorStep, Phase};
use bartizan_coordinator::launcher::{Launcher, LauncherError};
use clap::Parser;

/// Has hypervisor and enclave launched. Started by bartizan-launcher.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example, in a release's description: arguments: []"
)]
struct Arguments {}

fn main() -> ExitCode {
    let Arguments {} = Arguments::parse();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bartizan-stage2: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), LauncherError> {
    let mut launcher = Launcher::of_this_process()?;
    // The answer is their ready signal.
    launcher.ask(&CoordinatorStep::Launch(Phase::Hypervisor))?;
    if !launcher.ask(&CoordinatorStep::Launch(Phase::Enclave))? {
        eprintln!("bartizan-stage2: the bundle has no enclave");
    }
    Ok(())
}
