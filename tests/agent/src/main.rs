//! Runs commands that the tests send over vsock, as root, in the guest. One JSON object a line each way.

#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use vsock::VsockStream;

/// The host's CID (virtio 1.2 section 5.10.4).
const HOST: u32 = 2;
/// The port of the tests' service on the host.
const PORT: u32 = 2000;

/// What to run.
#[derive(Deserialize)]
struct Job {
    /// A shell script.
    script: String,
    /// Its standard input.
    input: String,
}

/// How it went.
#[derive(Serialize)]
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn main() -> anyhow::Result<()> {
    let link = VsockStream::connect_with_cid_port(HOST, PORT)?;
    let mut answers = link.try_clone()?;
    for line in BufReader::new(link).lines() {
        let outcome = run(&serde_json::from_str(&line?)?)?;
        serde_json::to_writer(&mut answers, &outcome)?;
        answers.write_all(b"\n")?;
    }
    Ok(())
}

fn run(job: &Job) -> anyhow::Result<Outcome> {
    let mut shell = Command::new("/bin/sh")
        .args(["-c", &job.script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut input) = shell.stdin.take() {
        // A script that does not read its input is no failure.
        input.write_all(job.input.as_bytes()).ok();
    }
    let output = shell.wait_with_output()?;
    Ok(Outcome {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
