//! `bartizan host`: the hosts of the fleet.

mod log;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result};
use clap::Subcommand;
use serde_json::{Value, json};

use crate::card::Card;
use crate::output::Output;
use crate::program::{ProgramError, beside};
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
    ///
    /// The join code is read from standard input or a file, since every user of the host can read arguments.
    #[command(
        after_help = "Examples:\n  bartizan host enroll --config /etc/bartizan/card.yaml --name rack1-07 --fleet-ca fleet-ca.pem\n  bartizan host enroll --config /etc/bartizan/card.yaml --name rack1-07 --fleet-ca fleet-ca.pem --join-code-file code"
    )]
    Enroll {
        /// The card's configuration.
        #[arg(long)]
        config: PathBuf,
        /// The host's name, as the join code was made for.
        #[arg(long)]
        name: String,
        /// The file that holds the join code; `-` is standard input.
        #[arg(long, value_name = "FILE", default_value = "-")]
        join_code_file: PathBuf,
        /// The fleet CA certificate (PEM or DER), brought here by a way that is trusted.
        #[arg(long)]
        fleet_ca: PathBuf,
    },
    /// What operators ordered this host to do, and what came of it: the log, followed record by record.
    ///
    /// Exit code: 1 also where the log is not what the card wrote.
    #[command(after_help = "Examples:\n  bartizan host log --last 20\n  bartizan host log --json")]
    Log {
        /// Only so many records, the last ones.
        #[arg(long)]
        last: Option<u64>,
        #[command(flatten)]
        card: Card,
    },
    /// The enrolled hosts.
    #[command(after_help = "Example: bartizan host list --json")]
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
            join_code_file,
            fleet_ca,
        } => {
            // The card's program reads it, prompts for it on a terminal, and bounds it.
            let code = if join_code_file == Path::new("-") {
                Stdio::inherit()
            } else {
                let file = File::open(&join_code_file);
                file.with_context(|| format!("no join code at {}", join_code_file.display()))?
                    .into()
            };
            let enrolled = beside(CARD)
                .arg("enroll")
                .arg("--config")
                .arg(config)
                .args(["--json", "--name", &name])
                .arg("--fleet-ca")
                .arg(fleet_ca)
                .stdin(code)
                .stderr(Stdio::inherit())
                .output()
                .map_err(ProgramError::start(CARD))?;
            ProgramError::check(CARD, enrolled.status)?;
            let answer: Value = serde_json::from_slice(&enrolled.stdout)
                .map_err(|_| ProgramError::Output { program: CARD })?;
            let card = answer["card"].as_str().unwrap_or_default();
            let shown = json!({ "ok": true, "card": card });
            output.result(&shown, &format!("{name} is enrolled as {card}"));
        }
        Host::Log { last, card } => log::show(&card, last, output)?,
        Host::List { verifier } => {
            let hosts = verifier.list("/v1/hosts", "hosts")?;
            output.table(&hosts, &["name", "card", "enrolled_at_ms"]);
        }
    }
    Ok(ExitCode::SUCCESS)
}
