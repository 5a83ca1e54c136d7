//! A swtpm process.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::programs::{demand, missing};

/// How long it may take to listen.
const DEADLINE: Duration = Duration::from_secs(20);

/// A TPM that was manufactured in a folder. Killed when dropped.
pub(crate) struct Simulator {
    state: PathBuf,
    port: u16,
    process: Child,
}

impl Simulator {
    pub(crate) fn start(state: &Path) -> Self {
        Self::with_banks(state, "sha256,sha384")
    }

    /// Without the SHA-384 bank.
    pub(crate) fn old(state: &Path) -> Self {
        Self::with_banks(state, "sha256")
    }

    fn with_banks(state: &Path, banks: &str) -> Self {
        fs::create_dir(state).unwrap();
        demand(
            Command::new("swtpm_setup")
                .args(["--tpm2", "--pcr-banks", banks, "--tpmstate"])
                .arg(state),
        );
        let port = free_ports();
        Self {
            state: state.into(),
            port,
            process: serve(state, port),
        }
    }

    pub(crate) fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub(crate) fn resume(&mut self) {
        self.process = serve(&self.state, self.port);
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // It may be dead already.
        let _killed = self.process.kill();
        let _ended = self.process.wait();
    }
}

fn serve(state: &Path, port: u16) -> Child {
    let mut command = Command::new("swtpm");
    command
        .args(["socket", "--tpm2", "--flags", "not-need-init"])
        .arg("--tpmstate")
        .arg(format!("dir={}", state.display()))
        .arg("--server")
        .arg(format!("type=tcp,port={port},bindaddr=127.0.0.1"))
        .arg("--ctrl")
        .arg(format!("type=tcp,port={},bindaddr=127.0.0.1", port + 1))
        .stdin(Stdio::null());
    let process = command.spawn();
    let process = process.unwrap_or_else(|error| missing(&command, &error));
    let began = Instant::now();
    // Its control channel: a connection to the other one would be its only user.
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port + 1)).is_err() {
        assert!(began.elapsed() < DEADLINE, "swtpm does not listen");
        thread::sleep(Duration::from_millis(20));
    }
    process
}

/// Two ports in a row that nobody has.
fn free_ports() -> u16 {
    loop {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port.saturating_add(1))).is_ok() {
            return port;
        }
    }
}
