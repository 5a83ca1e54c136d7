//! One daemon of the stack: started as its user, awaited until it serves, killed as a test wishes.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::accounts::Account;
use crate::launcher::Launched;

/// How long a daemon may take until it serves.
const READY_DEADLINE: Duration = Duration::from_secs(60);
/// How long a daemon may take to end after SIGTERM.
const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// How to start a daemon.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Its program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Who it runs as.
    pub account: Account,
    /// Capabilities that it keeps (names as setpriv(1) takes them).
    pub capabilities: &'static [&'static str],
    /// What it finds in its environment beside the path.
    pub environment: Vec<(String, String)>,
    /// Where its output goes.
    pub log: PathBuf,
}

/// A running daemon. Dropped, it is asked to end, then made to; one that a launcher started ends with that.
#[derive(Debug)]
pub enum Daemon {
    /// Started here.
    Own(Own),
    /// Started by a host's launcher.
    Launched(Launched),
}

/// A daemon that was started here.
#[derive(Debug)]
pub struct Own {
    recipe: Recipe,
    child: Child,
}

impl Daemon {
    /// Starts a daemon and waits until it serves.
    pub fn start(recipe: Recipe) -> Result<Self> {
        Own::start(recipe).map(Self::Own)
    }

    /// Its process id.
    pub fn pid(&self) -> Result<u32> {
        match self {
            Self::Own(own) => Ok(own.child.id()),
            Self::Launched(launched) => Ok(launched.process()?.pid()),
        }
    }

    /// Where its output is.
    pub fn log(&self) -> &Path {
        match self {
            Self::Own(own) => &own.recipe.log,
            Self::Launched(launched) => launched.log(),
        }
    }

    /// Kills it (SIGKILL) and waits for its end.
    pub fn kill(&mut self) -> Result<()> {
        match self {
            Self::Own(own) => {
                own.child.kill()?;
                own.child.wait()?;
                Ok(())
            }
            Self::Launched(launched) => launched.kill(),
        }
    }

    /// Has it started again after [`Daemon::kill`].
    pub fn start_again(&mut self) -> Result<()> {
        match self {
            Self::Own(own) => {
                *own = Own::start(own.recipe.clone())?;
                Ok(())
            }
            Self::Launched(launched) => launched.start_again(),
        }
    }

    /// Runs a program of the stack to its end, which must be a good one; `input` is its standard input.
    pub fn run_once(recipe: &Recipe, input: &str) -> Result<()> {
        Own::run_once(recipe, input)
    }
}

impl Own {
    fn start(recipe: Recipe) -> Result<Self> {
        let socket = recipe.log.with_extension("ready");
        fs::remove_file(&socket).ok();
        let notified = UnixDatagram::bind(&socket)?;
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o666))?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&recipe.log)?;
        let child = command(&recipe)
            .env("NOTIFY_SOCKET", &socket)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("could not start {}", recipe.program.display()))?;
        let mut daemon = Self { recipe, child };
        daemon.await_ready(&notified)?;
        fs::remove_file(&socket).ok();
        Ok(daemon)
    }

    fn run_once(recipe: &Recipe, input: &str) -> Result<()> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&recipe.log)?;
        let mut program = command(recipe)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("could not start {}", recipe.program.display()))?;
        if let Some(mut stdin) = program.stdin.take() {
            // A program that does not read its input is no failure.
            stdin.write_all(input.as_bytes()).ok();
        }
        let status = program.wait()?;
        if !status.success() {
            bail!(
                "{} ended with {status}:\n{}",
                recipe.program.display(),
                tail(&recipe.log)?
            );
        }
        Ok(())
    }

    fn await_ready(&mut self, notified: &UnixDatagram) -> Result<()> {
        let ended = self.pidfd()?;
        let mut fds = [
            PollFd::new(notified, PollFlags::IN),
            PollFd::new(&ended, PollFlags::IN),
        ];
        let timeout = Timespec {
            tv_sec: READY_DEADLINE.as_secs().cast_signed(),
            tv_nsec: 0,
        };
        poll(&mut fds, Some(&timeout))?;
        if fds[0].revents().contains(PollFlags::IN) {
            return Ok(());
        }
        let name = self.recipe.program.display();
        let ended = fds[1].revents().contains(PollFlags::IN);
        let why = if ended {
            "ended before it was ready"
        } else {
            "did not become ready in time"
        };
        bail!(
            "{name} {why}; the end of its log:\n{}",
            tail(&self.recipe.log)?
        );
    }

    fn pidfd(&self) -> Result<OwnedFd> {
        let pid = Pid::from_raw(self.child.id().cast_signed()).context("a pid is not 0")?;
        Ok(pidfd_open(pid, PidfdFlags::empty())?)
    }

    fn terminate(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        let pid = Pid::from_raw(self.child.id().cast_signed()).context("a pid is not 0")?;
        kill_process(pid, Signal::TERM)?;
        let pidfd = self.pidfd()?;
        let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
        let timeout = Timespec {
            tv_sec: STOP_DEADLINE.as_secs().cast_signed(),
            tv_nsec: 0,
        };
        if poll(&mut fds, Some(&timeout))? == 0 {
            self.child.kill()?;
        }
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Err(error) = self.terminate() {
            eprintln!(
                "{} could not be ended: {error:#}",
                self.recipe.program.display()
            );
        }
    }
}

/// The command that runs a recipe's program as its user and nothing more.
fn command(recipe: &Recipe) -> Command {
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--reuid={}", recipe.account.uid))
        .arg(format!("--regid={}", recipe.account.gid))
        .args(["--clear-groups", "--no-new-privs"]);
    let kept: String = recipe
        .capabilities
        .iter()
        .map(|name| format!(",+{name}"))
        .collect();
    command.arg(format!("--inh-caps=-all{kept}"));
    command.arg(format!("--ambient-caps=-all{kept}"));
    command.arg(format!("--bounding-set=-all{kept}"));
    command
        .arg("--")
        .arg(&recipe.program)
        .args(&recipe.arguments);
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("RUST_LOG", "info")
        .envs(recipe.environment.iter().cloned());
    command
}

/// The last lines of a log.
pub fn tail(log: &Path) -> Result<String> {
    let mut text = String::new();
    File::open(log)?.take(1 << 20).read_to_string(&mut text)?;
    let lines: Vec<_> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(30)..].join("\n"))
}
