//! A token that another process has: SoftHSM's, served by p11-kit, in the place of an HSM's daemon.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use crate::accounts::Account;
use crate::layout::text;
use crate::token::Token;

/// The module that connects to it, as Debian has it.
const MODULE: &str = "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so";
/// Tells the module to whom.
const ADDRESS: &str = "P11_KIT_SERVER_ADDRESS";

/// The process and its token, of one user. Killed when dropped.
#[derive(Debug)]
pub struct Hsm {
    token: Token,
    owner: Account,
    socket: PathBuf,
    process: Child,
}

impl Hsm {
    /// One whose token was just initialised.
    pub fn new(folder: &Path, owner: Account) -> Result<Self> {
        let token = Token::new(folder, owner)?;
        let socket = folder.join("token.sock");
        let process = serve(&token, owner, &socket)?;
        Ok(Self {
            token,
            owner,
            socket,
            process,
        })
    }

    /// What a vault's configuration says of it.
    pub fn sealing(&self) -> Result<Value> {
        Ok(json!({ "pkcs11": {
            "module": MODULE, "token": Token::LABEL, "pin": { "file": text(&self.token.pin())? },
            "connects": "unix",
        } }))
    }

    /// What the module must find in the vault's environment, a name and a value.
    pub fn variable(&self) -> Result<(String, String)> {
        Ok((ADDRESS.into(), format!("unix:path={}", text(&self.socket)?)))
    }

    /// Ends it, and what serves its connections, at once.
    pub fn kill(&mut self) -> Result<()> {
        kill_process_group(Pid::from_child(&self.process), Signal::KILL)?;
        self.process.wait()?;
        Ok(())
    }

    /// Starts it again, with the same token.
    pub fn start_again(&mut self) -> Result<()> {
        self.process = serve(&self.token, self.owner, &self.socket)?;
        Ok(())
    }
}

fn serve(token: &Token, owner: Account, socket: &Path) -> Result<Child> {
    // What was killed leaves it behind.
    let _absent = fs::remove_file(socket);
    let mut process = Command::new("p11-kit")
        .args(["server", "--foreground", "--sh", "--name"])
        .arg(socket)
        .args(["--provider", Token::MODULE, "pkcs11:"])
        .env("SOFTHSM2_CONF", token.configuration())
        .uid(owner.uid)
        .gid(owner.gid)
        // It forks for each connection.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("p11-kit is not installed; run `cargo xtask setup`")?;
    let said = process.stdout.take().context("it was piped")?;
    // It says where it listens once it does.
    let mut line = String::new();
    BufReader::new(said).read_line(&mut line)?;
    ensure!(line.contains(ADDRESS), "p11-kit does not serve: {line:?}");
    Ok(process)
}

impl Drop for Hsm {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.kill();
    }
}
