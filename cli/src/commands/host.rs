//! `bartizan host`: the hosts of the fleet.

mod attest;
pub(crate) mod firmware;
mod log;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result};
use bartizan_attestation::host::OperationReply;
use bartizan_attestation::identity::CardId;
use bartizan_attestation::operation::Operation;
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::card::{Card, CardError};
use crate::output::Output;
use crate::program::{ProgramError, beside};
use crate::utc::utc;
use crate::verifier::{Verifier, segment};

/// The card's program, beside this one or on the path.
const CARD: &str = "bartizan-card";

#[derive(Subcommand)]
pub(crate) enum Host {
    /// Make a one-time code with which one host may join.
    #[command(
        after_help = "Examples:\n  bartizan host join-code --name rack1-07 --vault tpm2\n  bartizan host join-code --name lab-1 --lifetime 3600"
    )]
    JoinCode {
        /// The host's name.
        #[arg(long)]
        name: String,
        /// Seconds until the code is void.
        #[arg(long, default_value_t = 3600)]
        lifetime: u64,
        /// What the host's vault must be: a TPM proves that it is one, for a PKCS #11 token your word stands.
        #[arg(long, default_value = "development")]
        vault: VaultWord,
        /// Allow another TPM than the one that the name is known with: its board was replaced.
        #[arg(long)]
        another_tpm: bool,
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
    /// Have this host prove its present boot to the verifier now: its event log, and with a TPM a quote and its firmware's log.
    ///
    /// It is the card that says what the verifier answered; what the verifier has accepted it says itself: `bartizan host boots`.
    ///
    /// Exit code: 0 accepted, 1 refused or not done, 2 wrong usage, 69 the card, its vault or the verifier is away.
    #[command(after_help = "Examples:\n  bartizan host attest\n  bartizan host attest --json")]
    Attest {
        #[command(flatten)]
        card: Card,
    },
    /// Have this host certified anew now, for the same key; a card sees to its certificates by itself, at half of their life.
    ///
    /// Where a key that was begun waits for its certificate (`bartizan key rotate card`), it is for that one, which takes the present one's place.
    ///
    /// Exit code: 0 renewed, 1 refused, 2 wrong usage, 69 the card, its vault or the verifier is away.
    #[command(after_help = "Examples:\n  bartizan host renew\n  bartizan host renew --json")]
    Renew {
        #[command(flatten)]
        card: Card,
    },
    /// From what a host was booted: its boots that the verifier has accepted, the last one first.
    #[command(after_help = "Example: bartizan host boots 7d2e…")]
    Boots {
        /// The host's card id, as `bartizan host list` shows it.
        host: String,
        #[command(flatten)]
        verifier: Verifier,
    },
    /// What a host's own firmware measured into its TPM: events and PCRs, as it showed them last, accepted or not.
    ///
    /// The log must replay to the PCRs that the TPM has quoted. `said to be` marks what an event's digest does not cover.
    #[command(
        after_help = "Examples:\n  bartizan host firmware 7d2e…\n  bartizan host firmware 7d2e… --json >lab.json"
    )]
    Firmware {
        /// The host's card id, as `bartizan host list` shows it.
        host: String,
        #[command(flatten)]
        verifier: Verifier,
    },
    /// Take a host again whose vault was found to be a fork: whoever reports in next with that card is the right one.
    ///
    /// See to it first that there is one only: end what was copied, or enrol one of the two anew. Where a card identity key named two
    /// successors (`sign: key`), or one of the two may have named one meanwhile, there is no such way: revoke the card, and enrol the host
    /// anew.
    #[command(after_help = "Example: bartizan host clear-fork 4f1a…")]
    ClearFork {
        /// The card's id, as `bartizan host list` has it.
        card: String,
        #[command(flatten)]
        verifier: Verifier,
    },
    /// The enrolled hosts, and whose vaults were found to be forks.
    #[command(after_help = "Example: bartizan host list --json")]
    List {
        #[command(flatten)]
        verifier: Verifier,
    },
}

/// What holds a host's keys.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum VaultWord {
    /// A file: no tamper-resistant root, and its certificates say so.
    Development,
    /// A TPM 2.0.
    Tpm2,
    /// A PKCS #11 token.
    Pkcs11,
}

impl VaultWord {
    const fn word(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Tpm2 => "tpm2",
            Self::Pkcs11 => "pkcs11",
        }
    }
}

pub(crate) fn run(command: Host, output: Output) -> Result<ExitCode> {
    match command {
        Host::JoinCode {
            name,
            lifetime,
            vault,
            another_tpm,
            verifier,
        } => {
            let body = json!({
                "name": name, "lifetime_s": lifetime, "vault": vault.word(), "another_tpm": another_tpm,
            });
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
        Host::Attest { card } => return attest::run(&card, output),
        Host::Renew { card } => {
            let OperationReply::Renewed(new) = card.order(Operation::RenewCertificate)? else {
                return Err(CardError::Unexpected.into());
            };
            let key: String = new.key.iter().map(|byte| format!("{byte:02x}")).collect();
            let until = utc(new.not_after.saturating_mul(1000));
            let shown =
                json!({ "ok": true, "key": key, "not_after": new.not_after, "valid_until": until });
            output.result(&shown, &format!("renewed; valid until {until}"));
        }
        Host::Log { last, card } => log::show(&card, last, output)?,
        Host::Boots { host, verifier } => {
            let path = format!("/v1/hosts/{}/boots", segment(&host));
            let boots = verifier.ask("GET", &path, None)?;
            output.table(&boots["boots"], &["appraised_at_ms", "base", "bundle"]);
        }
        Host::Firmware { host, verifier } => return firmware::show(&host, &verifier, output),
        Host::ClearFork { card, verifier } => {
            let card: CardId = card.parse().context("not a card's id")?;
            verifier.ask("DELETE", &format!("/v1/hosts/{card}/fork"), None)?;
            let shown = json!({ "ok": true, "card": card.to_string() });
            output.result(&shown, &format!("{card} is taken again"));
        }
        Host::List { verifier } => {
            let mut hosts = verifier.list("/v1/hosts", "hosts")?;
            for host in hosts.as_array_mut().into_iter().flatten() {
                host["forked"] = Value::from(host["fork"].is_object());
            }
            output.table(
                &hosts,
                &["name", "card", "vault", "enrolled_at_ms", "forked"],
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}
