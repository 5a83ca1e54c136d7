//! `bartizan-stage1`: the coordinator's first stage.

#![forbid(unsafe_code)]

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bartizan_boot::{CoordinatorStep, Refusal};
use bartizan_coordinator::card::Card;
use bartizan_coordinator::confinement::confine_first;
use bartizan_coordinator::launcher::Launcher;
use bartizan_coordinator::source::{Source, Way};
use bartizan_cose::PublicKey;
use clap::{Parser, ValueEnum};

/// Fetches the bundle from which the boot goes on. Started by bartizan-launcher.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples, in a release's description:\n  arguments: [--bundle, /var/lib/bartizan/bundle.release, --release-key, '{release.pub}']\n  arguments: [--from, verifier, --card, /run/bartizan/card/coordinator.sock, --release-key, '{release.pub}']"
)]
struct Arguments {
    /// Where the bundle is taken from.
    #[arg(long, value_enum, default_value_t = Whence::File)]
    from: Whence,
    /// The bundle's file, for `file` and `verifier-then-file`.
    #[arg(long)]
    bundle: Option<PathBuf>,
    /// The card's socket for the coordinator (`coordinator` of its configuration), for `verifier` and `verifier-then-file`.
    #[arg(long)]
    card: Option<PathBuf>,
    /// For how many seconds the verifier is tried again while it serves nothing.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=MAX_PATIENCE_S))]
    patience: u64,
    /// The release key, a SubjectPublicKeyInfo in DER.
    #[arg(long)]
    release_key: PathBuf,
}

/// With the last try, less than the launcher waits for.
const MAX_PATIENCE_S: u64 = 3000;

/// Of the release key's file, in bytes: more than any key has.
const MAX_KEY: u64 = 4096;

#[derive(Clone, Copy, ValueEnum)]
enum Whence {
    /// A file of the host.
    File,
    /// The verifier, through the card: the newest bundle of the release key. Without one the boot is stopped.
    Verifier,
    /// The verifier, and the file where that serves nothing. A bundle that is not the release key's stops the boot.
    VerifierThenFile,
}

/// A source that lacks an argument.
#[derive(Debug, thiserror::Error)]
#[error("`--from {from}` needs `{missing}`; see the release's description of this program")]
struct MissingError {
    from: &'static str,
    missing: &'static str,
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
    let source = arguments.source()?;
    // Opened before, so that no rule is needed for it, and read after.
    let file = File::open(&arguments.release_key)?;
    confine_first(&source)?;
    let mut key = Vec::new();
    file.take(MAX_KEY).read_to_end(&mut key)?;
    Ok(source.fetch(&PublicKey::from_spki_der(&key)?)?)
}

impl Arguments {
    fn source(&self) -> Result<Source, MissingError> {
        let from = match self.from {
            Whence::File => "file",
            Whence::Verifier => "verifier",
            Whence::VerifierThenFile => "verifier-then-file",
        };
        let given =
            |path: &Option<PathBuf>, missing| path.clone().ok_or(MissingError { from, missing });
        let file = || given(&self.bundle, "--bundle");
        let way = || {
            given(&self.card, "--card").map(|socket| Way {
                card: Card::new(socket),
                patience: Duration::from_secs(self.patience),
            })
        };
        Ok(match self.from {
            Whence::File => Source::File(file()?),
            Whence::Verifier => Source::Verifier(way()?),
            Whence::VerifierThenFile => Source::VerifierThenFile(way()?, file()?),
        })
    }
}
