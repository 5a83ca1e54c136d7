//! p11-kit's server, a process for each connection, as the process that has a folder's tokens.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::programs::missing;
use crate::tokens::{self, configuration};

/// The module that connects to it, as Debian has it.
pub(crate) const MODULE: &str = "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so";
/// The server of a folder's tokens. Killed when dropped.
pub(crate) struct Server {
    folder: PathBuf,
    process: Child,
}

/// What tells the module to whom it connects.
pub(crate) fn environment(folder: &Path) -> (&'static str, String) {
    let address = format!("unix:path={}", socket(folder).display());
    ("P11_KIT_SERVER_ADDRESS", address)
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("token.sock")
}

impl Server {
    pub(crate) fn start(folder: &Path) -> Self {
        Self {
            folder: folder.into(),
            process: serve(folder),
        }
    }

    /// Ends it, and what serves its connections, at once.
    pub(crate) fn kill(&mut self) {
        let group = Pid::from_child(&self.process);
        // It may have been killed before.
        let _ended = kill_process_group(group, Signal::KILL);
        self.process.wait().unwrap();
    }

    pub(crate) fn start_again(&mut self) {
        self.process = serve(&self.folder);
    }
}

fn serve(folder: &Path) -> Child {
    let _absent = std::fs::remove_file(socket(folder));
    let mut command = Command::new("p11-kit");
    let process = command
        .args(["server", "--foreground", "--sh", "--name"])
        .arg(socket(folder))
        .args(["--provider", tokens::MODULE, "pkcs11:"])
        .env("SOFTHSM2_CONF", configuration(folder))
        // It forks for each connection.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let mut process = process.unwrap_or_else(|error| missing(&command, &error));
    // It says where it listens once it does.
    let mut said = String::new();
    let mut lines = BufReader::new(process.stdout.take().unwrap());
    lines.read_line(&mut said).unwrap();
    let (name, value) = environment(folder);
    assert!(said.starts_with(&format!("{name}={value}")), "{said}");
    process
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
