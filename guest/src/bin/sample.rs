//! The sample application: a ledger that opens its books only once its memory is attested, and aborts otherwise.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "a command line tool prints its results"
)]

use std::path::PathBuf;
use std::process::ExitCode;

use bartizan_guest::{
    Application, AttestationError, Enrollment, HostApi, StateError, request_memory_attestation,
    verify_attestation_token,
};
use clap::Parser;

/// A ledger that works only in attested memory.
#[derive(Parser)]
#[command(version, after_help = "Example: bartizan-sample --application ledger")]
struct Arguments {
    /// The name under which it is registered with the verifier.
    #[arg(long, default_value = "ledger")]
    application: String,
    /// Folder of the guest's enrolment.
    #[arg(long, default_value = "/run/bartizan")]
    state: PathBuf,
}

/// Why the ledger stays shut.
#[derive(Debug, thiserror::Error)]
enum ShutError {
    #[error(transparent)]
    Enrollment(#[from] StateError),
    #[error(transparent)]
    Attestation(#[from] AttestationError),
}

/// The books. There is no other way to open them than with a proof.
struct Books(bartizan_attestation::result::Affirmed);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match open(&arguments) {
        Ok(books) => {
            println!("ledger open until {}", books.0.claims().exp);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("ledger stays shut: {error}");
            ExitCode::FAILURE
        }
    }
}

fn open(arguments: &Arguments) -> Result<Books, ShutError> {
    let enrollment = Enrollment::load(&arguments.state)?;
    let this = Application::this_process(&arguments.application, "https://ledger.example");
    let attested = request_memory_attestation(&HostApi::vsock(), &enrollment, &this)?;
    Ok(Books(verify_attestation_token(&attested, &enrollment)?))
}
