//! `bartizan service`: the verifier's own program, on the machine that it runs on.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Subcommand;
use serde_json::json;

use crate::operator::Credentials;
use crate::output::Output;
use crate::program::{ProgramError, beside};

/// The verifier's program, beside this one or on the path.
const PROGRAM: &str = "bartizan-verifier";

#[derive(Subcommand)]
pub(crate) enum Service {
    /// Run the verifier in the foreground.
    #[command(after_help = "Example: bartizan service run --config /etc/bartizan/verifier.yaml")]
    Run {
        /// Its configuration.
        #[arg(long)]
        config: PathBuf,
    },
    /// Make the fleet CA, if there is none, and certify this operator: the first, or one whom the vault's
    /// configuration names.
    #[command(
        after_help = "Example: bartizan service init --config /etc/bartizan/verifier.yaml --name alice --operator ~/.bartizan"
    )]
    Init {
        /// The verifier's configuration.
        #[arg(long)]
        config: PathBuf,
        /// The operator's name.
        #[arg(long)]
        name: String,
        #[command(flatten)]
        credentials: Credentials,
    },
}

pub(crate) fn run(command: Service, output: Output) -> Result<ExitCode> {
    let mut verifier = beside(PROGRAM);
    match command {
        Service::Run { config } => {
            verifier.arg("run").arg("--config").arg(config);
            // Only returns if it could not be started.
            Err(ProgramError::start(PROGRAM)(verifier.exec()).into())
        }
        Service::Init {
            config,
            name,
            credentials,
        } => {
            let csr = credentials.certificate_path().with_extension("csr");
            std::fs::write(&csr, credentials.request()?)
                .with_context(|| format!("could not write {}", csr.display()))?;
            verifier
                .arg("init")
                .arg("--config")
                .arg(config)
                .args(["--operator-name", &name]);
            verifier.arg("--operator-csr").arg(&csr);
            verifier
                .arg("--operator-certificate")
                .arg(credentials.certificate_path());
            verifier.arg("--fleet-ca").arg(credentials.fleet_ca_path());
            // What it prints is for people.
            verifier.stdout(std::io::stderr());
            let status = verifier.status().map_err(ProgramError::start(PROGRAM))?;
            ProgramError::check(PROGRAM, status)?;
            let (certificate, fleet_ca) =
                (credentials.certificate_path(), credentials.fleet_ca_path());
            output.result(
                &json!({ "ok": true, "operator": name, "certificate": certificate, "fleet_ca": fleet_ca }),
                &format!("{name} is an operator; certificate at {}", certificate.display()),
            );
            Ok(ExitCode::SUCCESS)
        }
    }
}
