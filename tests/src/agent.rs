//! The tests' hand inside a guest: `bartizan-test-agent` connects to us and runs what we send.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Deserialize;
use serde_json::{Value, json};

/// The hand's program in a guest.
pub const HAND: &str = "/opt/bartizan/bin/bartizan-test-agent";
/// How long a script in the guest may take.
const SCRIPT_DEADLINE: Duration = Duration::from_secs(120);

/// Where the agent of one guest connects to.
pub struct Door(UnixListener);

/// A connected agent.
pub struct Agent {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
}

/// How a script in the guest went.
#[derive(Debug, Deserialize)]
pub struct Outcome {
    /// Its exit code; absent when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// What the agent answers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Ran(Outcome),
    Received { bytes: String },
    Done,
    Collected { answers: Vec<String> },
    Failed { error: String },
}

impl Door {
    /// Opens the door at a path.
    pub fn open(path: &Path) -> Result<Self> {
        std::fs::remove_file(path).ok();
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
        Ok(Self(listener))
    }

    /// Waits for the guest's agent to connect.
    pub fn wait(&self, deadline: Duration) -> Result<Agent> {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        let timeout = Timespec {
            tv_sec: deadline.as_secs().cast_signed(),
            tv_nsec: 0,
        };
        if poll(&mut fds, Some(&timeout))? == 0 {
            bail!("the guest's test agent did not connect within {deadline:?}");
        }
        let (writer, _) = self.0.accept()?;
        writer.set_read_timeout(Some(SCRIPT_DEADLINE))?;
        writer.set_write_timeout(Some(SCRIPT_DEADLINE))?;
        Ok(Agent {
            reader: BufReader::new(writer.try_clone()?),
            writer,
        })
    }
}

impl Agent {
    /// Runs a shell script as root in the guest.
    pub fn run(&mut self, script: &str) -> Result<Outcome> {
        self.run_with_input(script, "")
    }

    /// Runs a shell script with some standard input.
    pub fn run_with_input(&mut self, script: &str, input: &str) -> Result<Outcome> {
        match self.ask(&json!({ "run": { "script": script, "input": input } }))? {
            Answer::Ran(outcome) => Ok(outcome),
            Answer::Failed { error } => bail!("the guest could not run `{script}`: {error}"),
            _ => bail!("the guest's test agent answered something else"),
        }
    }

    /// Sends bytes to a vsock port and reads until the other side closes.
    pub fn exchange(&mut self, cid: u32, port: u32, bytes: &[u8]) -> Result<Vec<u8>> {
        match self
            .ask(&json!({ "exchange": { "cid": cid, "port": port, "bytes": B64.encode(bytes) } }))?
        {
            Answer::Received { bytes } => Ok(B64.decode(bytes)?),
            Answer::Failed { error } => bail!("no exchange with {cid}:{port}: {error}"),
            _ => bail!("the guest's test agent answered something else"),
        }
    }

    /// Has requests kept for a port of the host, to be sent by [`Agent::fire`].
    pub fn load(&mut self, port: u32, requests: &[Vec<u8>]) -> Result<()> {
        let requests: Vec<_> = requests.iter().map(|request| B64.encode(request)).collect();
        self.done(&json!({ "load": { "port": port, "requests": requests } }))
    }

    /// Has them sent over so many connections at once; returns when all are answered. Connections are kept for the
    /// next request, or each request has its own.
    pub fn fire(&mut self, connections: usize, kept: bool) -> Result<()> {
        self.done(&json!({ "fire": { "connections": connections, "kept": kept } }))
    }

    /// What was answered, in the order of the requests.
    pub fn collect(&mut self) -> Result<Vec<Vec<u8>>> {
        match self.ask(&json!("collect"))? {
            Answer::Collected { answers } => answers
                .iter()
                .map(|answer| Ok(B64.decode(answer)?))
                .collect(),
            _ => bail!("the guest's test agent answered something else"),
        }
    }

    fn done(&mut self, job: &Value) -> Result<()> {
        match self.ask(job)? {
            Answer::Done => Ok(()),
            Answer::Failed { error } => bail!("in the guest: {error}"),
            _ => bail!("the guest's test agent answered something else"),
        }
    }

    fn ask(&mut self, job: &Value) -> Result<Answer> {
        let mut job = serde_json::to_vec(job)?;
        job.push(b'\n');
        self.writer.write_all(&job)?;
        let mut line = String::new();
        self.reader
            .read_line(&mut line)
            .context("the guest's test agent did not answer")?;
        serde_json::from_str(&line).context("the guest's test agent answered garbage")
    }

    /// Numbers of eight bytes, the most significant one first, that a file in the guest begins with.
    pub fn numbers<const N: usize>(&mut self, file: &str) -> Result<[u64; N]> {
        let bytes = 8 * N;
        let printed = self.must(&format!("od -An -v -N{bytes} -tu8 --endian=big {file}"))?;
        let numbers = printed.split_whitespace().map(str::parse);
        let numbers: Vec<u64> = numbers.collect::<Result<_, _>>()?;
        numbers.try_into().ok().with_context(|| printed)
    }

    /// Starts the hand's own program in the guest beside, and waits until it has begun its file.
    pub fn begin(&mut self, file: &str, arguments: &str, input: &str) -> Result<()> {
        self.must(&format!(
            "rm -f {file}; echo {input} > {file}.in
            {HAND} {arguments} < {file}.in > /dev/null 2> {file}.err & echo $! > {file}.pid
            until [ -s {file} ]; do kill -0 $! || {{ cat {file}.err >&2; exit 1; }}; done"
        ))?;
        Ok(())
    }

    /// Ends it; fails where it has ended by itself.
    pub fn end(&mut self, file: &str) -> Result<()> {
        self.must(&format!("kill $(cat {file}.pid) && rm {file}*"))?;
        Ok(())
    }

    /// Runs a script that must succeed and returns what it printed.
    pub fn must(&mut self, script: &str) -> Result<String> {
        let outcome = self.run(script)?;
        if outcome.code != Some(0) {
            bail!("in the guest, `{script}` failed: {outcome:?}");
        }
        Ok(outcome.stdout)
    }
}
