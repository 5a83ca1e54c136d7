//! `bartizan-guest`: enrol this guest, renew its key, attest a process, run a program only if it is affirmed.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "a command line tool prints its results"
)]

mod exit;
mod run;
mod watch;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use bartizan_attestation::measurement::{Digest, DigestKind, HashAlgorithm, Region};
use bartizan_guest::{
    Application, AttestationError, Enrollment, HostApi, Measure, enroll, renew,
    request_memory_attestation, verify_attestation_token,
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::json;

/// Proves this guest's memory to a verifier.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  bartizan-guest attest --application nginx --pid $(cat /run/nginx.pid)\n  bartizan-guest run --application ledger -- /usr/bin/ledger\n\nExit code: 0 done, 1 refused or not affirmed, 2 wrong usage, 69 host or verifier is unavailable."
)]
struct Arguments {
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    /// Folder of the enrolment; on a file system that does not outlive the boot.
    #[arg(long, global = true, default_value = "/run/bartizan")]
    state: PathBuf,
    #[command(subcommand)]
    command: Tool,
}

#[derive(Subcommand)]
enum Tool {
    /// Enrol a fresh key with the host; works once a boot, for the first that asks.
    #[command(after_help = "Example: bartizan-guest enroll --state /run/bartizan")]
    Enroll {
        /// How long to ask again where the host cannot be reached or is restarting, in seconds.
        #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(..=86_400))]
        patience: u64,
    },
    /// Renew the enrolled key, which is certified for a day; the former one signs on for two minutes.
    #[command(
        after_help = "Example: bartizan-guest renew\nAs a service: bartizan-guest renew --watch"
    )]
    Renew {
        /// Go on: renew at half of each certificate's life, and try again where that fails.
        #[arg(long)]
        watch: bool,
    },
    /// Have memory measured and judged, and verify the token. Exit code 1 unless affirmed.
    #[command(after_help = "Example: bartizan-guest attest --application nginx --pid 312 --json")]
    Attest(Attest),
    /// Start a program and attest it; unless it is affirmed, end it and all that it started.
    ///
    /// It runs while it is measured. It is in a process group of its own, and may become a daemon. Signals (SIGTERM,
    /// SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2) are passed on to it once it is affirmed; before, they end it. The exit
    /// code is the program's own, 128 and the number of the signal that ended it, or 1 where it was not affirmed, for want of
    /// a verdict in time too. What was killed and is not gone after 10 seconds is named, and the tool ends with an error.
    ///
    /// Without `--user` the program is of the tool's own user: it may then read the guest's key, and kill the tool.
    #[command(
        after_help = "Example: bartizan-guest run --application ledger --audience https://ledger.example --user ledger -- /usr/bin/ledger"
    )]
    Run(run::Run),
    /// Become a program that dies with the tool; `run` starts itself so.
    #[command(name = run::START, hide = true)]
    Start {
        /// The user to become.
        #[arg(long, value_parser = run::User::named)]
        user: Option<run::User>,
        /// The tool's process.
        tool: u32,
        /// The program and its arguments.
        #[arg(last = true, required = true)]
        program: Vec<OsString>,
    },
}

#[derive(Args)]
struct Attest {
    /// The application's registered name.
    #[arg(long)]
    application: String,
    /// Who shall accept the token.
    #[arg(long, default_value = "local")]
    audience: String,
    /// The process to measure.
    #[arg(long, required_unless_present = "physical")]
    pid: Option<u32>,
    /// Measure these virtual regions of the process rather than its profile: `0xADDRESS+0xSIZE`.
    #[arg(long, requires = "pid", value_parser = region)]
    region: Vec<Region>,
    /// Measure these guest-physical regions: `0xADDRESS+0xSIZE`.
    #[arg(long, conflicts_with_all = ["pid", "region"], value_parser = region)]
    physical: Vec<Region>,
    /// Hash algorithm: sha-256, sha-384, sha-512, sha3-256, sha3-384, sha3-512, blake3.
    #[arg(long, default_value = "sha-256")]
    algorithm: HashAlgorithm,
    /// Digest kind.
    #[arg(long, value_enum, default_value = "tree")]
    kind: Kind,
    /// The overall digest that is expected, in hexadecimal.
    #[arg(long, value_parser = digest)]
    expect: Option<Digest>,
    /// Ask for no page digests beside the report of a process.
    #[arg(long)]
    no_page_digests: bool,
    /// Most MiB that processes of the program may map to be executed, all together; the host refuses more than its launch
    /// record's `budget.bytes_per_request`.
    #[arg(long, default_value_t = DEFAULT_MAX_MIB, value_name = "MIB", value_parser = max_mib())]
    max_mib: u64,
    /// Keep the signed report in this file.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Keep the page digests that came with it in this file.
    #[arg(long)]
    page_digests: Option<PathBuf>,
}

const DEFAULT_MAX_MIB: u64 = Application::DEFAULT_MAX_BYTES >> 20;

/// As launch records may allow.
fn max_mib() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=1 << 20)
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Flat,
    Tree,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            let message = exit::message(&error);
            if arguments.json {
                let problem = exit::problem(&error);
                let said = json!({ "ok": false, "error": message, "problem": problem });
                println!("{said}");
            }
            eprintln!("bartizan-guest: {message}");
            exit::code(&error)
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    let host = HostApi::vsock();
    match &arguments.command {
        Tool::Enroll { patience } => {
            let enrollment = enroll(&host, Duration::from_secs(*patience))?;
            enrollment.store(&arguments.state)?;
            Ok(enrolled("enrolled", &enrollment, arguments.json))
        }
        Tool::Renew { watch: true } => {
            let error = watch::renew_in_time(&host, &arguments.state);
            Err(error.into())
        }
        Tool::Renew { watch: false } => {
            let enrollment = renew(&host, &arguments.state)?;
            Ok(enrolled("renewed", &enrollment, arguments.json))
        }
        Tool::Attest(attest) => {
            let enrollment = Enrollment::load(&arguments.state)?;
            attest_once(&host, &enrollment, attest, arguments.json)
        }
        Tool::Run(run) => {
            let enrollment = Enrollment::load(&arguments.state)?;
            run::run(host, enrollment, run)
        }
        Tool::Start {
            user,
            tool,
            program,
        } => match program.split_first() {
            Some((path, rest)) => {
                let path = Path::new(path);
                Ok(run::become_program(*tool, user.as_ref(), path, rest))
            }
            None => Ok(ExitCode::FAILURE),
        },
    }
}

fn enrolled(how: &str, enrollment: &Enrollment, as_json: bool) -> ExitCode {
    let guest = enrollment.guest().to_string();
    if as_json {
        println!("{}", json!({ "ok": true, "guest": guest }));
    } else {
        println!("{how} as {guest}");
    }
    ExitCode::SUCCESS
}

impl Attest {
    fn application(&self) -> Application {
        let measure = match self.pid {
            Some(pid) if self.region.is_empty() => Measure::Process(pid),
            Some(pid) => Measure::Virtual(pid, self.region.clone()),
            None => Measure::Physical(self.physical.clone()),
        };
        Application {
            name: self.application.clone(),
            audience: self.audience.clone(),
            measure,
            algorithm: self.algorithm,
            kind: match self.kind {
                Kind::Flat => DigestKind::Flat,
                Kind::Tree => DigestKind::Tree,
            },
            expected: self.expect.clone(),
            page_digests: !self.no_page_digests,
            max_bytes: self.max_mib << 20,
        }
    }
}

fn attest_once(
    host: &HostApi,
    enrollment: &Enrollment,
    attest: &Attest,
    as_json: bool,
) -> Result<ExitCode> {
    let attested = request_memory_attestation(host, enrollment, &attest.application())?;
    let keep = |path: &Option<PathBuf>, bytes: &[u8]| match path {
        Some(path) => std::fs::write(path, bytes)
            .with_context(|| format!("could not write {}", path.display())),
        None => Ok(()),
    };
    keep(&attest.report, &attested.report)?;
    if let Some(page_digests) = &attested.page_digests {
        keep(&attest.page_digests, page_digests)?;
    }
    let (status, findings, code) = match verify_attestation_token(&attested, enrollment) {
        Ok(_) => ("affirming".to_owned(), Vec::new(), ExitCode::SUCCESS),
        Err(AttestationError::NotAffirmed(refusal)) => {
            let status = serde_json::to_value(refusal.status)?;
            let status = status.as_str().unwrap_or_default().to_owned();
            (status, refusal.findings, ExitCode::FAILURE)
        }
        Err(error) => return Err(error.into()),
    };
    let reasons: Vec<_> = findings.iter().map(ToString::to_string).collect();
    if as_json {
        let affirmed = status == "affirming";
        println!(
            "{}",
            json!({
                "ok": affirmed, "status": status, "findings": findings, "reasons": reasons,
                "verdict": attested.verdict, "token": attested.token,
            })
        );
    } else {
        println!("{status} (verdict {})", attested.verdict);
        for reason in reasons {
            println!("  {reason}");
        }
    }
    Ok(code)
}

fn region(text: &str) -> Result<Region, String> {
    let number = |text: &str| {
        let digits = text
            .strip_prefix("0x")
            .ok_or("numbers are hexadecimal, with 0x")?;
        u64::from_str_radix(digits, 16).map_err(|error| error.to_string())
    };
    let (address, size) = text.split_once('+').ok_or("a region is 0xADDRESS+0xSIZE")?;
    Ok(Region {
        address: number(address)?,
        size: number(size)?,
    })
}

fn digest(text: &str) -> Result<Digest, hex::FromHexError> {
    hex::decode(text).map(Digest)
}
