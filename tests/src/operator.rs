//! What an operator does, done with the command line that operators use.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bartizan_attestation::certificates::FleetCa;
use bartizan_channel::Connector;
use bartizan_channel::https::{self, Endpoint};
use serde_json::Value;

use crate::accounts::Account;
use crate::layout::{Layout, text};

/// How long the verifier may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Largest answer in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// An operator's shell: the program, and where everything is.
#[derive(Clone, Debug)]
pub struct Operator {
    program: PathBuf,
    folder: PathBuf,
    verifier: String,
    card: PathBuf,
}

/// How a command went.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: Option<i32>,
    /// The JSON that it printed; null if it printed none.
    pub json: Value,
    /// What it said on standard error.
    pub stderr: String,
}

impl Operator {
    /// The operator of a stack.
    pub fn new(layout: &Layout, verifier: String, card: PathBuf) -> Self {
        Self {
            program: layout.program("bartizan"),
            folder: layout.path("operator"),
            verifier,
            card,
        }
    }

    /// The same operator at another host.
    #[must_use]
    pub fn at(&self, card: PathBuf) -> Self {
        Self {
            card,
            ..self.clone()
        }
    }

    /// Another operator at the same host, with a folder of its own.
    #[must_use]
    pub fn another(&self, folder: PathBuf) -> Self {
        Self {
            folder,
            ..self.clone()
        }
    }

    /// The fleet CA certificate that this operator trusts.
    pub fn fleet_ca(&self) -> PathBuf {
        self.folder.join("fleet-ca.pem")
    }

    /// Where the verifier listens: address and port.
    pub fn verifier(&self) -> &str {
        &self.verifier
    }

    /// The operator's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs a command and returns how it went.
    pub fn run(&self, arguments: &[&str]) -> Result<Ran> {
        let output = self.command(arguments).output();
        let output = output.with_context(|| format!("could not run {}", self.program.display()))?;
        Ok(output.into())
    }

    /// The same as another user of the machine, with some standard input: a vault answers one user alone.
    pub fn run_as(&self, user: Account, arguments: &[&str], input: &str) -> Result<Ran> {
        let mut child = self
            .command(arguments)
            .uid(user.uid)
            .gid(user.gid)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("could not run {}", self.program.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command that does not read its input is no failure.
            stdin.write_all(input.as_bytes()).ok();
        }
        Ok(child.wait_with_output()?.into())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--json")
            .args(arguments)
            .env("BARTIZAN_OPERATOR", &self.folder)
            .env("BARTIZAN_VERIFIER", &self.verifier)
            .env("BARTIZAN_CARD", &self.card)
            .env_remove("BARTIZAN_HOST");
        command
    }

    /// Runs a command that must succeed and returns the JSON that it printed.
    pub fn must(&self, arguments: &[&str]) -> Result<Value> {
        let ran = self.run(arguments)?;
        if ran.code != Some(0) {
            bail!(
                "`bartizan {}` ended with {:?}: {}",
                arguments.join(" "),
                ran.code,
                ran.stderr
            );
        }
        Ok(ran.json)
    }

    /// Posts JSON to the verifier as somebody without a certificate; answers the JSON of its answer, whatever its status.
    pub fn anonymously(&self, path: &str, body: &Value) -> Result<Value> {
        let fleet_ca = FleetCa::from_pem_or_der(&fs::read(self.fleet_ca())?)?;
        let connector = Connector::anonymous(fleet_ca.der())?;
        let (host, port) = self.verifier.rsplit_once(':').context("host:port")?;
        let to = Endpoint {
            host: host.into(),
            port: port.parse()?,
            server_name: host.into(),
        };
        let ask = https::Request {
            method: "POST",
            path: path.into(),
            body: body.to_string().into_bytes(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let answered = https::request(&connector, &to, ask, MAX_ANSWER, PATIENCE);
        Ok(serde_json::from_slice(&runtime.block_on(answered)?.body)?)
    }

    /// SHA-384 of a file, as launch records want it.
    pub fn digest(&self, file: &Path) -> Result<String> {
        let answer = self.must(&["vm", "digest", &text(file)?])?;
        Ok(answer["sha384"].as_str().context("a digest")?.to_owned())
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            json: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
