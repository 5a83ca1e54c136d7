//! `bartizan host`: the hosts of the fleet.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use serde_json::json;

use crate::output::Output;
use crate::verifier::Verifier;

/// The card's program, beside this one or on the path.
const CARD: &str = "bartizan-card";

#[derive(Subcommand)]
pub(crate) enum Host {
    /// Make a one-time code with which one host may join.
    #[command(after_help = "Example: bartizan host join-code --name rack1-07 --lifetime 3600")]
    JoinCode {
        /// The host's name.
        #[arg(long)]
        name: String,
        /// Seconds until the code is void.
        #[arg(long, default_value_t = 3600)]
        lifetime: u64,
        #[command(flatten)]
        verifier: Verifier,
    },
    /// On the host: make its identity and have it certified.
    #[command(
        after_help = "Example: bartizan host enroll --config /etc/bartizan/card.yaml --name rack1-07 --join-code CODE --fleet-ca fleet-ca.pem"
    )]
    Enroll {
        /// The card's configuration.
        #[arg(long)]
        config: PathBuf,
        /// The host's name, as the join code was made for.
        #[arg(long)]
        name: String,
        /// The code.
        // Random base64url: it may begin with a hyphen.
        #[arg(long, allow_hyphen_values = true)]
        join_code: String,
        /// The fleet CA certificate (PEM or DER), brought here by a way that is trusted.
        #[arg(long)]
        fleet_ca: PathBuf,
    },
    /// The enrolled hosts.
    #[command(after_help = "Example: bartizan host list")]
    List {
        #[command(flatten)]
        verifier: Verifier,
    },
}

pub(crate) fn run(command: Host, output: Output) -> Result<ExitCode> {
    match command {
        Host::JoinCode {
            name,
            lifetime,
            verifier,
        } => {
            let body = json!({ "name": name, "lifetime_s": lifetime });
            let answer = verifier.ask("POST", "/v1/join-codes", Some(&body))?;
            output.result(&answer, answer["code"].as_str().unwrap_or_default());
        }
        Host::Enroll {
            config,
            name,
            join_code,
            fleet_ca,
        } => {
            let program = std::env::current_exe()?.with_file_name(CARD);
            let status = Command::new(if program.exists() {
                program
            } else {
                CARD.into()
            })
            .arg("enroll")
            .arg("--config")
            .arg(config)
            .args(["--name", &name, "--join-code", &join_code])
            .arg("--fleet-ca")
            .arg(fleet_ca)
            .status()
            .with_context(|| format!("could not run {CARD}"))?;
            if !status.success() {
                bail!("{CARD} enroll ended with {status}");
            }
            output.result(&json!({ "ok": true }), "enrolled");
        }
        Host::List { verifier } => {
            let hosts = verifier.ask("GET", "/v1/hosts", None)?;
            output.table(&hosts["hosts"], &["name", "card", "enrolled_at_ms"]);
        }
    }
    Ok(ExitCode::SUCCESS)
}
