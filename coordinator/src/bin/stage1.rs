//! `bartizan-stage1`: the coordinator's first stage.

#![forbid(unsafe_code)]

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use bartizan_boot::{CoordinatorStep, Refusal};
use bartizan_coordinator::bundle;
use bartizan_coordinator::launcher::Launcher;
use bartizan_cose::PublicKey;
use clap::Parser;

/// Fetches the bundle from which the boot goes on. Started by bartizan-launcher.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example, in a release's description: arguments: [--bundle, /var/lib/bartizan/bundle.release, --release-key, '{release.pub}']"
)]
struct Arguments {
    /// The bundle.
    #[arg(long)]
    bundle: PathBuf,
    /// The release key, a SubjectPublicKeyInfo in DER.
    #[arg(long)]
    release_key: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bartizan-stage1: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let mut launcher = Launcher::of_this_process()?;
    match fetch(arguments) {
        Ok(bundle) => {
            launcher.ask(&CoordinatorStep::Bundle(bundle))?;
            Ok(())
        }
        Err(error) => {
            launcher.fail(Refusal::Manifest(error.to_string()))?;
            Err(error)
        }
    }
}

fn fetch(arguments: &Arguments) -> Result<Vec<u8>, Box<dyn Error>> {
    let key = PublicKey::from_spki_der(&std::fs::read(&arguments.release_key)?)?;
    Ok(bundle::from_file(&arguments.bundle, &key)?)
}
