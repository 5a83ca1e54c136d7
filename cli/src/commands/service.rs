//! `bartizan service`: the verifier's own program, on the machine that it runs on.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use crate::operator::Credentials;

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

pub(crate) fn run(command: Service) -> Result<ExitCode> {
    let program = std::env::current_exe()?.with_file_name(PROGRAM);
    let mut verifier = Command::new(if program.exists() {
        program
    } else {
        PROGRAM.into()
    });
    match command {
        Service::Run { config } => {
            verifier.arg("run").arg("--config").arg(config);
            // Only returns if it could not be started.
            Err(verifier.exec()).with_context(|| format!("could not run {PROGRAM}"))
        }
        Service::Init {
            config,
            name,
            credentials,
        } => {
            let csr = credentials.certificate_path().with_extension("csr");
            std::fs::write(&csr, credentials.request()?)?;
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
            let status = verifier
                .status()
                .with_context(|| format!("could not run {PROGRAM}"))?;
            if !status.success() {
                bail!("{PROGRAM} init ended with {status}");
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}
