//! A swtpm process.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
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
        loop {
            let port = free_ports();
            // Else somebody took them meanwhile.
            if let Some(process) = serve(state, port) {
                return Self {
                    state: state.into(),
                    port,
                    process,
                };
            }
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
        let process = serve(&self.state, self.port);
        // Nobody else takes its ports.
        self.process = process.unwrap();
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // It may be dead already.
        let _killed = self.process.kill();
        let _ended = self.process.wait();
    }
}

/// None where the ports are taken.
fn serve(state: &Path, port: u16) -> Option<Child> {
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
    let mut process = process.unwrap_or_else(|error| missing(&command, &error));
    let began = Instant::now();
    // Its control channel: a connection to the other one would be its only user.
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port + 1)).is_err() {
        assert!(began.elapsed() < DEADLINE, "swtpm does not listen");
        thread::sleep(Duration::from_millis(20));
    }
    // Whoever answers there: it has ended if it is not this one.
    process.try_wait().unwrap().is_none().then_some(process)
}

/// Two ports in a row that nobody has, and no client is given by the kernel (`ip_local_port_range` begins at 32768): they are taken
/// again after a kill.
fn free_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let pair = NEXT.fetch_add(1, Ordering::SeqCst);
        let [.., high, low] = process::id().to_be_bytes();
        let begin = u16::from_be_bytes([high, low]);
        let port = 20_000 + begin.wrapping_add(pair) % 6000 * 2;
        let listen = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        if let (Ok(_), Ok(_)) = (listen(port), listen(port + 1)) {
            return port;
        }
    }
}
