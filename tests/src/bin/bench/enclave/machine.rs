//! Machines of the enclave's kind, each started by a keeper of its own, which nothing else of a host is around.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bartizan_attestation::host::{ENCLAVE_FRAME, ForCard};
use bartizan_channel::{EnclaveConnector, Identity};
use bartizan_local::aio;
use bartizan_tests::accounts::Account;
use bartizan_tests::layout::{Layout, text};
use bartizan_tests::stack::Stack;
use serde_json::json;
use tokio::net::UnixListener;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::hypervisor;

/// How long a machine may take, under emulation, on a busy machine; one that takes longer hangs, as with too little RAM.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a bare first process says.
const BARE: &str = "the first process is there";
/// What a keeper says of a machine that ended, or never ran.
const ENDED: [&str; 2] = [
    "the enclave's machine ended",
    "the enclave's machine cannot run",
];

/// Where machines are started.
pub(super) struct Machines {
    pub(super) layout: Layout,
    /// What they are started from.
    pub(super) kernel: PathBuf,
    folder: PathBuf,
    /// Whom their QEMU runs as.
    qemu: Account,
    identity: Arc<Identity>,
    runtime: Runtime,
}

/// A running keeper. Dropped, it ends, and its machine with it.
struct Keeper(Child);

impl Machines {
    /// Beside a host whose own enclave stands still from now on. They have the host's kernel.
    pub(super) fn beside(stack: &Stack) -> Result<Self> {
        let folder = stack.layout.path("machines");
        fs::create_dir_all(&folder)?;
        let identity = hypervisor::identity(&stack.host)?;
        stack.host.keeper().kill()?;
        Ok(Self {
            layout: stack.layout.clone(),
            kernel: stack.layout.enclave.join("kernel"),
            folder,
            qemu: stack.users.enclave,
            identity,
            runtime: Builder::new_current_thread().enable_all().build()?,
        })
    }

    /// From its keeper's start until the enclave has asked the first question over the channel to its card; `None` where its machine ended
    /// before, or hangs.
    pub(super) fn until_channel(&self, memory_mib: u32) -> Result<Option<Duration>> {
        let socket = self.folder.join("card.sock");
        fs::remove_file(&socket).ok();
        let identity = Arc::clone(&self.identity);
        let connector = EnclaveConnector::uncertified(move || Arc::clone(&identity))?;
        let begun = Instant::now();
        self.runtime.block_on(async {
            let listener = UnixListener::bind(&socket)?;
            let (_keeper, said) = self.start(&self.layout.enclave, memory_mib)?;
            let asked = async {
                let (stream, _) = listener.accept().await?;
                let (mut link, _) = connector.connect(stream).await?;
                let asked: ForCard = aio::read_frame(&mut link, ENCLAVE_FRAME).await?;
                anyhow::Ok(asked)
            };
            let ended = async {
                // Looked at now and then: this is not what is timed.
                loop {
                    match said.try_recv() {
                        Ok(Said::Ended) => return Ok(None),
                        Err(TryRecvError::Disconnected) => bail!("the keeper ended"),
                        Ok(Said::Bare(_)) | Err(TryRecvError::Empty) => {}
                    }
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            };
            tokio::select! {
                asked = timeout(PATIENCE, asked) => {
                    Ok(asked.ok().transpose()?.map(|_| begun.elapsed()))
                }
                ended = ended => ended,
            }
        })
    }

    /// The same of a machine whose first process says that it is there.
    pub(super) fn until_init(&self, memory_mib: u32) -> Result<Option<Duration>> {
        let begun = Instant::now();
        let (_keeper, said) = self.start(&self.layout.bare_enclave, memory_mib)?;
        match said.recv_timeout(PATIENCE) {
            Ok(Said::Bare(when)) => Ok(Some(when.saturating_duration_since(begun))),
            Ok(Said::Ended) => Ok(None),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("the keeper ended"),
        }
    }

    fn start(&self, from: &Path, memory_mib: u32) -> Result<(Keeper, Receiver<Said>)> {
        let path = |path: &Path| text(path);
        let socket = |name: &str| text(&self.folder.join(name));
        let config = json!({
            "run_dir": path(&self.folder.join("keeper"))?,
            "kernel": path(&self.kernel)?,
            "image": path(&from.join("image"))?,
            "config": path(&self.layout.path("enclave.yaml"))?,
            "command_line": path(&self.layout.path("enclave.cmdline"))?,
            "qemu": { "program": "/usr/bin/qemu-system-x86_64", "user": { "uid": self.qemu.uid, "gid": self.qemu.gid } },
            "links": {
                "card": socket("card.sock")?,
                "hypervisor": socket("nobody.sock")?,
                "verifier": socket("nobody.sock")?,
            },
            "memory_mib": memory_mib,
            "limits": { "optional": true },
        });
        let file = self.folder.join("keeper.yaml");
        fs::write(&file, config.to_string())?;
        let mut child = Command::new(self.layout.program("bartizan-keeper"))
            .arg("--config")
            .arg(&file)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("could not start a keeper")?;
        let said = child.stderr.take().context("its log")?;
        let keeper = Keeper(child);
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                let what = match line {
                    line if line.contains(BARE) => Said::Bare(Instant::now()),
                    line if ENDED.iter().any(|ended| line.contains(ended)) => Said::Ended,
                    _ => continue,
                };
                if tell.send(what).is_err() {
                    return;
                }
            }
        });
        Ok((keeper, told))
    }
}

/// What a keeper's log says.
enum Said {
    /// The bare first process is there.
    Bare(Instant),
    /// The machine ended.
    Ended,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // QEMU ends with it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
