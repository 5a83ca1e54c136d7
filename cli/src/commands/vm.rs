//! `bartizan vm`: the guests of this host.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use bartizan_attestation::digest::Hasher;
use bartizan_attestation::host::{GuestState, GuestStatus, GuestSummary, OperatorReply};
use bartizan_attestation::launch::{LaunchRecord, sign_record};
use bartizan_attestation::measurement::HashAlgorithm;
use bartizan_attestation::operation::Operation;
use clap::Subcommand;
use serde_json::{Value, json};

use crate::card::{Card, CardError};
use crate::operator::Credentials;
use crate::output::Output;

const SIGN_EXAMPLE: &str = "\
Example: bartizan vm sign web.yaml --output web.launch

A record, web.yaml; digests are those of `bartizan vm digest`, the last one that of `bartizan operator anchor`:
  version: 1
  name: web
  uuid: 6f1f2a0e-3c1b-4a57-9d8a-3f0f6c1d2e4b
  role: web
  cpus: 2
  memory_mib: 1024
  boot:
    kernel:
      image: { path: /srv/guests/vmlinuz, sha384: … }
      initrd: { path: /srv/guests/initrd.img, sha384: … }
      command_line: root=/dev/vda console=ttyS0
  disks:
    - { path: /srv/guests/web.img }
    - { path: /srv/guests/programs.img, readonly: true, sha384: … }
  fleet_ca_sha256: …
  restart: on-failure";

#[derive(Subcommand)]
pub(crate) enum Vm {
    /// Sign a launch record.
    #[command(after_help = SIGN_EXAMPLE)]
    Sign {
        /// The record, YAML.
        record: PathBuf,
        /// Where the signed record goes.
        #[arg(long)]
        output: PathBuf,
        #[command(flatten)]
        credentials: Credentials,
    },
    /// SHA-384 of a file, as launch records want it.
    #[command(after_help = "Example: bartizan vm digest /boot/vmlinuz-6.1.0-56-cloud-amd64")]
    Digest {
        /// The file.
        file: PathBuf,
    },
    /// Run a guest from a signed launch record.
    #[command(after_help = "Example: bartizan vm run web.launch")]
    Run {
        /// The signed record.
        record: PathBuf,
        #[command(flatten)]
        card: Card,
    },
    /// The guests of this host.
    #[command(after_help = "Example: bartizan vm list --json")]
    List {
        #[command(flatten)]
        card: Card,
    },
    /// One guest.
    #[command(after_help = "Example: bartizan vm show web")]
    Show {
        /// Its name or UUID.
        vm: String,
        #[command(flatten)]
        card: Card,
    },
    /// Stop a guest.
    #[command(after_help = "Example: bartizan vm stop web")]
    Stop {
        /// Its name or UUID.
        vm: String,
        /// At once, rather than by its power button.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        card: Card,
    },
    /// The end of a guest's serial console.
    #[command(after_help = "Example: bartizan vm console web --bytes 4096")]
    Console {
        /// Its name or UUID.
        vm: String,
        /// At most so many bytes.
        #[arg(long, default_value_t = 16384)]
        bytes: u32,
        #[command(flatten)]
        card: Card,
    },
}

pub(crate) fn run(command: Vm, output: Output) -> Result<ExitCode> {
    match command {
        Vm::Sign {
            record,
            output: target,
            credentials,
        } => {
            let yaml = fs::read_to_string(&record)
                .with_context(|| format!("could not read {}", record.display()))?;
            let parsed = LaunchRecord::parse(&yaml)
                .with_context(|| format!("{} is no launch record", record.display()))?;
            let signed = sign_record(&yaml, &credentials.chain()?, &credentials.key()?)?;
            fs::write(&target, signed)?;
            let sentence = format!("{} signed: {}", parsed.name, target.display());
            output.result(
                &json!({ "ok": true, "name": parsed.name, "record": target }),
                &sentence,
            );
        }
        Vm::Digest { file } => {
            let digest = sha384(&file)?;
            output.result(&json!({ "path": file, "sha384": digest }), &digest);
        }
        Vm::Run { record, card } => {
            let record = fs::read(&record)
                .with_context(|| format!("could not read {}", record.display()))?;
            let status = guest(card.guests(Operation::RunGuest { record })?)?;
            output.result(&shown(&status), &format!("runs as {}", status.guest));
        }
        Vm::List { card } => {
            let OperatorReply::Guests(guests) = card.guests(Operation::ListGuests)? else {
                return Err(CardError::Unexpected.into());
            };
            output.table(
                &guests.iter().map(row).collect(),
                &["name", "role", "state", "enrolled", "guest"],
            );
        }
        Vm::Show { vm, card } => {
            let shown = match card.guests(Operation::ShowGuest { vm })? {
                OperatorReply::Guest(status) => shown(&status),
                OperatorReply::Summary(summary) => row(&summary),
                _ => return Err(CardError::Unexpected.into()),
            };
            output.result(&shown, &serde_json::to_string_pretty(&shown)?);
        }
        Vm::Stop { vm, force, card } => {
            let sentence = format!("{vm} stopped");
            card.guests(Operation::StopGuest { vm, force })?;
            output.result(&json!({ "ok": true }), &sentence);
        }
        Vm::Console { vm, bytes, card } => {
            let read = Operation::ReadConsole { vm, max: bytes };
            let OperatorReply::Console(bytes) = card.guests(read)? else {
                return Err(CardError::Unexpected.into());
            };
            let text = String::from_utf8_lossy(&bytes);
            output.result(&json!({ "console": text }), &text);
        }
    }
    std::io::stdout().flush()?;
    Ok(ExitCode::SUCCESS)
}

fn guest(reply: OperatorReply) -> Result<GuestStatus, CardError> {
    match reply {
        OperatorReply::Guest(status) => Ok(status),
        _ => Err(CardError::Unexpected),
    }
}

fn row(guest: &GuestSummary) -> Value {
    json!({
        "name": guest.name,
        "role": guest.role,
        "state": word(guest.state),
        "enrolled": guest.enrolled,
        "guest": guest.guest,
    })
}

fn shown(status: &GuestStatus) -> Value {
    json!({
        "guest": status.guest.to_string(),
        "state": word(status.state),
        "launch_measurement": status.launch_measurement.to_string(),
        "cid": status.cid,
        "accelerator": status.accelerator,
        "qemu_pid": status.qemu_pid,
        "measurer_pid": status.measurer_pid,
        "enrolled": status.enrollment.is_some(),
        "started_at_ms": status.started_at_ms,
    })
}

const fn word(state: GuestState) -> &'static str {
    match state {
        GuestState::Booting => "booting",
        GuestState::Running => "running",
        GuestState::Paused => "paused",
        GuestState::Stopped => "stopped",
        GuestState::Failed => "failed",
        GuestState::Unresponsive => "unresponsive",
        GuestState::Starting => "starting",
        GuestState::Restarting => "restarting",
    }
}

fn sha384(path: &Path) -> Result<String> {
    let mut file =
        File::open(path).with_context(|| format!("could not read {}", path.display()))?;
    let mut hasher = Hasher::new(HashAlgorithm::Sha384);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish().to_string()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_that_is_shown_is_one() {
        let (_, yaml) = SIGN_EXAMPLE.split_once(":\n").unwrap();
        let (yaml, restart) = yaml.split_once("fleet_ca_sha256: …").unwrap();
        let yaml = yaml.replace('…', &"ab".repeat(48));
        let anchor = "cd".repeat(32);
        let record = LaunchRecord::parse(&format!("{yaml}fleet_ca_sha256: {anchor}{restart}"));
        assert_eq!(record.unwrap().name, "web");
    }
}
