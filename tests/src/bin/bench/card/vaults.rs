//! Vault processes, as their own user and confined as always, which this program may ask.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use bartizan_attestation::keys::{VaultReply, VaultRequest};
use bartizan_local::{read_frame, write_frame};
use bartizan_tests::accounts::Account;
use bartizan_tests::daemon::{Daemon, Recipe};
use bartizan_tests::layout::{Layout, text};
use serde_json::{Value, json};

/// How long a vault may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A vault and a connection to it. It ends when dropped.
pub(super) struct Vault {
    link: Link,
    socket: PathBuf,
    _process: Daemon,
}

/// A connection to a vault.
pub(super) struct Link(UnixStream);

/// Which vault.
pub(super) struct Wanted<'w> {
    pub(super) name: &'w str,
    pub(super) role: &'w str,
    /// None: a key file.
    pub(super) sealing: Option<Value>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) account: Account,
}

impl Vault {
    pub(super) fn start(layout: &Layout, wanted: Wanted<'_>) -> Result<Self> {
        let name = wanted.name;
        let state = layout.state(name, wanted.account)?;
        let socket = layout.run(name, wanted.account)?.join("vault.sock");
        let sealing = match wanted.sealing {
            Some(sealing) => sealing,
            None => json!({ "key_file": text(&state.join("root.key"))? }),
        };
        let config = json!({
            "socket": text(&socket)?,
            "allowed_uids": [0],
            "store": text(&state.join("keys"))?,
            "sealing": sealing,
            "role": wanted.role,
        });
        let config = layout.config(&format!("{name}.yaml"), &config.to_string())?;
        let process = Daemon::start(Recipe {
            program: layout.program("bartizan-vault"),
            arguments: vec!["--config".into(), config],
            account: wanted.account,
            capabilities: &[],
            environment: wanted.environment,
            log: layout.path(&format!("{name}.log")),
        })?;
        Ok(Self {
            link: Link::open(&socket)?,
            socket,
            _process: process,
        })
    }

    /// One more connection.
    pub(super) fn link(&self) -> Result<Link> {
        Link::open(&self.socket)
    }

    pub(super) fn ask(&mut self, request: &VaultRequest) -> Result<VaultReply> {
        self.link.ask(request)
    }

    /// The chain that it answers; anything else is an error.
    pub(super) fn certificates(&mut self, request: &VaultRequest) -> Result<Vec<Vec<u8>>> {
        match self.ask(request)? {
            VaultReply::Certificates(chain) => Ok(chain.into_iter().map(Vec::from).collect()),
            other => bail!("no certificates: {other:?}"),
        }
    }
}

impl Link {
    fn open(socket: &Path) -> Result<Self> {
        let link = UnixStream::connect(socket)?;
        link.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(link))
    }

    pub(super) fn ask(&mut self, request: &VaultRequest) -> Result<VaultReply> {
        write_frame(&mut self.0, request, VaultRequest::MAX_FRAME)?;
        Ok(read_frame(&mut self.0, VaultRequest::MAX_FRAME)?)
    }
}
