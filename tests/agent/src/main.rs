//! Does what the tests ask for over vsock, as root, in the guest. One JSON object a line each way.

mod decoy;
mod flood;
mod flows;
mod frames;
mod huge;
mod volley;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use serde::{Deserialize, Serialize};
use vsock::VsockStream;

/// The host's CID (virtio 1.2 section 5.10.4).
const HOST: u32 = 2;
/// The port of the tests' service on the host.
const PORT: u32 = 2000;

/// What to do.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Job {
    /// Run a shell script with some standard input.
    Run { script: String, input: String },
    /// Send bytes to a port of a CID and read until the other side closes.
    Exchange { cid: u32, port: u32, bytes: String },
    /// Keep requests for a port of the host, to be sent later.
    Load { port: u32, requests: Vec<String> },
    /// Send what is loaded.
    Fire { connections: usize, kept: bool },
    /// Hand out what came back.
    Collect,
}

/// How it went; bytes in base64url.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Ran {
        code: Option<i32>,
        stdout: String,
        stderr: String,
    },
    Received {
        bytes: String,
    },
    Done,
    Collected {
        answers: Vec<String>,
    },
    Failed {
        error: String,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => serve(),
        [command, file, offset, size] if command == "decoy" => {
            decoy::run(file, offset.parse()?, size.parse()?)
        }
        [command, kind, count] if command == "huge" => huge::run(kind, count.parse()?),
        [command, requests] if command == "flood" => flood::run(requests.parse()?),
        [command] if command == "send" => frames::send_all(),
        [command, file] if command == "listen" => frames::listen(file),
        [command, count, file] if command == "flows" => flows::send(count.parse()?, file),
        [command, port, file] if command == "sink" => flows::take(port.parse()?, file),
        _ => anyhow::bail!(
            "usage: bartizan-test-agent [decoy FILE OFFSET SIZE | huge KIND COUNT | flood REQUESTS | send | listen FILE | flows COUNT FILE | sink PORT FILE]"
        ),
    }
}

fn serve() -> anyhow::Result<()> {
    let link = VsockStream::connect_with_cid_port(HOST, PORT)?;
    let mut answers = link.try_clone()?;
    let mut volley = volley::Volley::default();
    for line in BufReader::new(link).lines() {
        let done = match serde_json::from_str(&line?)? {
            Job::Run { script, input } => run(&script, &input),
            Job::Exchange { cid, port, bytes } => exchange(cid, port, &bytes),
            Job::Load { port, requests } => volley.load(port, &requests).map(|()| Outcome::Done),
            Job::Fire { connections, kept } => {
                volley.fire(connections, kept).map(|()| Outcome::Done)
            }
            Job::Collect => Ok(Outcome::Collected {
                answers: volley.collect(),
            }),
        };
        let outcome = done.unwrap_or_else(|error| Outcome::Failed {
            error: format!("{error:#}"),
        });
        serde_json::to_writer(&mut answers, &outcome)?;
        answers.write_all(b"\n")?;
    }
    Ok(())
}

fn run(script: &str, input: &str) -> anyhow::Result<Outcome> {
    let mut shell = Command::new("/bin/sh")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = shell.stdin.take() {
        // A script that does not read its input is no failure.
        stdin.write_all(input.as_bytes()).ok();
    }
    let output = shell.wait_with_output()?;
    Ok(Outcome::Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// How long the other side may be silent.
const SILENCE: Duration = Duration::from_secs(60);
/// Most bytes that are read.
const MAX_ANSWER: u64 = 64 << 20;

fn exchange(cid: u32, port: u32, bytes: &str) -> anyhow::Result<Outcome> {
    let mut link = VsockStream::connect_with_cid_port(cid, port)?;
    link.set_read_timeout(Some(SILENCE))?;
    link.write_all(&B64.decode(bytes)?)?;
    let mut answer = Vec::new();
    link.take(MAX_ANSWER).read_to_end(&mut answer)?;
    Ok(Outcome::Received {
        bytes: B64.encode(answer),
    })
}
