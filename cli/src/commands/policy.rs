//! `bartizan policy`: what guests may do, written, tried and signed offline.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_policy::{AuthorKey, Format, Policy as Written, read, sign_policy};
use clap::Subcommand;
use serde_json::json;

use super::policies::{self, Policies};
use crate::operator::{read_key, write_secret};
use crate::output::Output;

mod case;
mod check;
mod diff;
mod explain;
mod replay;
mod suite;

#[derive(Subcommand)]
pub(crate) enum Policy {
    /// Read policies and say what is wrong with them, each by itself and together.
    ///
    /// Exit code: 0 nothing is wrong, 1 something is, 2 wrong usage.
    #[command(after_help = "Example: bartizan policy check web.yaml hardening.yaml")]
    Check {
        /// The policies: .yaml, .yml or .json.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Decide one request by policies, and say by which rule, what it depended on, and which other rules match.
    ///
    /// Exit code: 0 decided, 1 a policy is refused, 2 wrong usage.
    #[command(
        after_help = "Example: bartizan policy explain web.yaml --guest '{role: web, labels: {env: production}}' --request 'network: {direction: ingress, protocol: tcp, address: 192.0.2.7, port: 443}'"
    )]
    Explain {
        /// The policies.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The guest, in YAML: role, and where they matter vm, labels, trust.
        #[arg(long)]
        guest: String,
        /// The request, in YAML: one of exec, file, network, syscall, and where it matters process.
        #[arg(long)]
        request: String,
    },
    /// Decide what is written in files of tests, and compare.
    ///
    /// Exit code: 0 all is decided as expected, 1 something is not, 2 wrong usage.
    #[command(
        after_help = "Example: bartizan policy test web.test.yaml\n\nA file (YAML) has policies (paths beside it), guests by name, and tests, each with name, guest, request, effect, and where it matters rule (POLICY/RULE)."
    )]
    Test {
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Say which parts of a policy are new, gone or changed, and what is decided otherwise of a file of tests.
    ///
    /// Exit code: 0 nothing differs, 1 something does, 2 wrong usage.
    #[command(
        after_help = "Example: bartizan policy diff web.yaml web.new.yaml --tests web.test.yaml"
    )]
    Diff {
        /// The policy as it was.
        old: PathBuf,
        /// The policy as it is to be.
        new: PathBuf,
        /// Whose guests and requests are decided by both; the policies that it names are left out.
        #[arg(long)]
        tests: Option<PathBuf>,
    },
    /// Decide anew what was decided before, and say what would change, how often, and in which line first.
    ///
    /// Exit code: 0 nothing would change, 1 something would, 2 wrong usage.
    #[command(
        after_help = "Example: bartizan policy replay web.new.yaml hardening.yaml --records decisions.jsonl\n\nA record is a line of JSON with guest and request, as `explain` takes them, and decision, of which effect and by are read, as `explain --json` says them."
    )]
    Replay {
        /// All policies that are to be in force.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// What was decided.
        #[arg(long)]
        records: PathBuf,
    },
    /// Make an author's key: the private half goes into FILE, the public one into FILE.pub (PEM), for the configuration that names authors.
    #[command(after_help = "Example: bartizan policy key team-a.pk8")]
    Key {
        /// The file; keep it offline.
        file: PathBuf,
    },
    /// Sign a policy with an author's key.
    ///
    /// Exit code: 0 signed, 1 it is no policy, 2 wrong usage.
    #[command(
        after_help = "Example: bartizan policy sign web.yaml --key team-a.pk8 --output web.policy"
    )]
    Sign {
        /// The policy.
        file: PathBuf,
        /// The author's key.
        #[arg(long)]
        key: PathBuf,
        /// Where the signed policy goes.
        #[arg(long)]
        output: PathBuf,
    },
    #[command(flatten)]
    AtTheVerifier(Policies),
    /// Print the JSON Schema of policies, for editors.
    #[command(after_help = "Example: bartizan policy schema > policy.schema.json")]
    Schema,
}

pub(crate) fn run(command: Policy, output: Output) -> Result<ExitCode> {
    match command {
        Policy::Check { files } => check::run(&files, output),
        Policy::Explain {
            files,
            guest,
            request,
        } => explain::run(&files, &guest, &request, output),
        Policy::Test { files } => suite::run(&files, output),
        Policy::Diff { old, new, tests } => diff::run(&old, &new, tests.as_deref(), output),
        Policy::Replay { files, records } => replay::run(&files, &records, output),
        Policy::Key { file } => key(&file, output),
        Policy::Sign {
            file,
            key,
            output: to,
        } => sign(&file, &key, &to, output),
        Policy::AtTheVerifier(command) => policies::run(command, output),
        Policy::Schema => {
            let schema: serde_json::Value = serde_json::from_str(bartizan_policy::SCHEMA)?;
            output.result(&schema, bartizan_policy::SCHEMA.trim_end());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn key(file: &Path, output: Output) -> Result<ExitCode> {
    let key = EphemeralKey::generate()?;
    write_secret(file, key.pkcs8_der())?;
    let mut public = file.as_os_str().to_owned();
    public.push(".pub");
    let public = PathBuf::from(public);
    let pem = AuthorKey::new(key.public_key())?.to_string();
    fs::write(&public, pem).with_context(|| format!("could not write {}", public.display()))?;
    let id = hex::encode(key.public_key().sha256());
    let sentence = format!("author's key {id}; its public half is {}", public.display());
    output.result(&json!({ "sha256": id, "public": public }), &sentence);
    Ok(ExitCode::SUCCESS)
}

fn sign(file: &Path, key: &Path, to: &Path, output: Output) -> Result<ExitCode> {
    let (text, format) = text(file)?;
    let policy = read(&text, format).with_context(|| format!("{} is no policy", file.display()))?;
    let key = read_key(key)?;
    let signed = sign_policy(&text, format, &key.public_key(), &key)?;
    fs::write(to, &signed).with_context(|| format!("could not write {}", to.display()))?;
    let sentence = format!(
        "policy {}, serial {}, {} rules, signed into {}",
        policy.name,
        policy.serial,
        policy.rules.len(),
        to.display()
    );
    let value = json!({
        "name": policy.name, "serial": policy.serial, "rules": policy.rules.len(), "output": to,
        "key": hex::encode(key.public_key().sha256()),
    });
    output.result(&value, &sentence);
    Ok(ExitCode::SUCCESS)
}

/// A policy's text; what its name ends in says how it is written.
fn text(file: &Path) -> Result<(String, Format)> {
    let format = match file.extension().and_then(|extension| extension.to_str()) {
        Some("yaml" | "yml") => Format::Yaml,
        Some("json") => Format::Json,
        _ => bail!(
            "{}: a policy's file ends in .yaml, .yml or .json",
            file.display()
        ),
    };
    let text =
        fs::read_to_string(file).with_context(|| format!("could not read {}", file.display()))?;
    Ok((text, format))
}

fn policy(file: &Path) -> Result<Written> {
    let (text, format) = text(file)?;
    read(&text, format).with_context(|| format!("{} is no policy", file.display()))
}

fn policies(files: &[PathBuf]) -> Result<Vec<Written>> {
    files.iter().map(|file| policy(file)).collect()
}
