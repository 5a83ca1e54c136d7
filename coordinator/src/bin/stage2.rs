//! `bartizan-stage2`: the coordinator's second stage.

#![forbid(unsafe_code)]

use std::error::Error;
use std::process::ExitCode;

use bartizan_boot::{CoordinatorStep, Phase, Refusal};
use bartizan_coordinator::confinement::confine_second;
use bartizan_coordinator::launcher::Launcher;
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

fn run() -> Result<(), Box<dyn Error>> {
    let mut launcher = Launcher::of_this_process()?;
    if let Err(error) = confine_second() {
        launcher.fail(Refusal::Manifest(error.to_string()))?;
        return Err(error.into());
    }
    // The answer is their ready signal.
    launcher.ask(&CoordinatorStep::Launch(Phase::Hypervisor))?;
    if !launcher.ask(&CoordinatorStep::Launch(Phase::Enclave))? {
        eprintln!("bartizan-stage2: the bundle has no enclave");
    }
    Ok(())
}
