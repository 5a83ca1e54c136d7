//! A host's launcher, and the daemons that it starts.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::daemon::tail;
use crate::layout::Layout;
use crate::process::Process;

/// How long a boot may take: everything is measured in debug builds, on a busy machine.
const BOOT: Duration = Duration::from_secs(180);
/// How long a daemon may take to serve again: the launcher waits longer each time.
const AGAIN: Duration = Duration::from_secs(120);
/// How long a process may take to end.
const END: Duration = Duration::from_secs(10);

/// A running launcher. Dropped, it and what it started end.
#[derive(Clone, Debug)]
pub struct Launcher(Arc<Mutex<Running>>);

#[derive(Debug)]
struct Running {
    child: Child,
    notified: UnixDatagram,
    log: PathBuf,
    log_dir: PathBuf,
    /// Daemons that were killed and did not serve again yet.
    away: BTreeSet<String>,
}

/// How a boot went.
#[derive(Debug)]
pub enum Booted {
    /// All phases have ended.
    Done,
    /// It was stopped; what the launcher says.
    Stopped(String),
}

impl Launcher {
    /// Where the event log of a host's firmware is, in its layout.
    pub const FIRMWARE_LOG: &str = "firmware-log";

    /// Boots a host from a signed base, as root. Its firmware's event log is what a test put at [`Launcher::FIRMWARE_LOG`]: the
    /// machine's own is nobody's business.
    pub fn start(layout: &Layout, base: &Path, release_key: &Path) -> Result<(Self, Booted)> {
        let state = layout.path("run/launcher");
        fs::create_dir_all(&state)?;
        let log_dir = layout.path("logs");
        fs::create_dir_all(&log_dir)?;
        let socket = layout.path("launcher.notify");
        fs::remove_file(&socket).ok();
        let notified = UnixDatagram::bind(&socket)?;
        let log = log_dir.join("launcher.log");
        let file = fs::File::options().create(true).append(true).open(&log)?;
        let child = Command::new(layout.program("bartizan-launcher"))
            .arg("--manifest")
            .arg(base)
            .arg("--release-key")
            .arg(release_key)
            .arg("--state-dir")
            .arg(&state)
            .arg("--log-dir")
            .arg(&log_dir)
            .arg("--firmware-log")
            .arg(layout.path(Self::FIRMWARE_LOG))
            .env_clear()
            .env("NOTIFY_SOCKET", &socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .context("could not start the launcher")?;
        let running = Running {
            child,
            notified,
            log,
            log_dir,
            away: BTreeSet::new(),
        };
        let launcher = Self(Arc::new(Mutex::new(running)));
        let said = launcher.running().hear(BOOT)?;
        let booted = match said.strip_prefix("STATUS=") {
            None if said == "READY=1" => Booted::Done,
            Some(stopped) => Booted::Stopped(stopped.into()),
            None => bail!("the launcher said `{said}`"),
        };
        Ok((launcher, booted))
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its process.
    pub fn process(&self) -> Result<Process> {
        Process::of(self.running().child.id())
    }

    /// Ends it and what it started.
    pub fn end(&self) -> Result<()> {
        self.running().stop_all()
    }

    /// The end of the log of the daemon that a reason names.
    #[must_use]
    pub fn last_words(&self, why: &str) -> String {
        let named = why.split('`').nth(1).unwrap_or("bartizan-launcher");
        tail(&self.daemon(named).log).unwrap_or_default()
    }

    /// What it has logged.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.running().log)?)
    }

    /// A daemon that it started.
    #[must_use]
    pub fn daemon(&self, name: &str) -> Launched {
        let log = self.running().log_dir.join(format!("{name}.log"));
        Launched {
            launcher: self.clone(),
            name: name.into(),
            log,
        }
    }
}

impl Running {
    /// What it says next.
    fn hear(&mut self, patience: Duration) -> Result<String> {
        let deadline = Instant::now() + patience;
        let mut said = vec![0; 4096];
        loop {
            // Short, so that its end is noticed.
            self.notified
                .set_read_timeout(Some(Duration::from_millis(200)))?;
            match self.notified.recv(&mut said) {
                Ok(length) => return Ok(String::from_utf8_lossy(&said[..length]).into_owned()),
                Err(_) if self.child.try_wait()?.is_some() => {
                    bail!("the launcher ended:\n{}", tail(&self.log)?);
                }
                Err(_) if Instant::now() > deadline => {
                    bail!("the launcher says nothing:\n{}", tail(&self.log)?);
                }
                Err(_) => {}
            }
        }
    }

    fn stop_all(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        let launcher = Process::of(self.child.id())?;
        // It would start them again.
        launcher.stop()?;
        for daemon in launcher.children()? {
            let ended = daemon.end()?;
            daemon.kill()?;
            ended.wait(END)?;
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.stop_all() {
            eprintln!("a host could not be ended: {error:#}");
        }
    }
}

/// A daemon that a launcher started, and starts again.
#[derive(Clone, Debug)]
pub struct Launched {
    launcher: Launcher,
    name: String,
    log: PathBuf,
}

impl Launched {
    /// Its process; there must be one.
    pub fn process(&self) -> Result<Process> {
        let children = self.launcher.process()?.children()?;
        let named = |process: &&Process| process.program().is_ok_and(|name| name == self.name);
        let found = children.iter().find(named).copied();
        found.with_context(|| format!("{} does not run; see {}", self.name, self.log.display()))
    }

    /// Where its output is.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Kills it (SIGKILL) and waits for its end. The launcher is stopped, so that it stays away until it is wanted again.
    pub fn kill(&self) -> Result<()> {
        let daemon = self.process()?;
        self.launcher.process()?.stop()?;
        let ended = daemon.end()?;
        daemon.kill()?;
        ended.wait(END)?;
        let mut running = self.launcher.running();
        running.away.insert(self.name.clone());
        Ok(())
    }

    /// Lets the launcher start it again, with whatever else was killed, and waits until it serves.
    pub fn start_again(&self) -> Result<()> {
        self.launcher.process()?.go_on()?;
        let mut running = self.launcher.running();
        while running.away.contains(&self.name) {
            let said = running.hear(AGAIN)?;
            let status = said.strip_prefix("STATUS=").unwrap_or_default();
            if let Some(name) = status.strip_suffix(" serves again") {
                running.away.remove(name);
            }
        }
        Ok(())
    }
}
