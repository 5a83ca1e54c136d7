//! One run of the enclave's machine.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Context;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::command_line::{Arguments, build};
use super::config::Config;
use super::owed::Owed;
use super::status::Status;
use super::{group, image, links};
use crate::cgroup::{Cgroup, CgroupError};
use crate::confinement::ConfinementError;
use crate::confinement::qemu::{VhostLink, restrictions};
use crate::measured_program::Execution;
use crate::qemu::accelerator::Accelerator;
use crate::qemu::process::{Confined, Process};

/// Most bytes of one line of the console that are logged.
const LINE: usize = 400;
/// Most bytes of the console that are logged in one run: what is said there is the enclave's to choose.
const CONSOLE: usize = 1 << 20;

/// The machine, ready to be run again and again.
#[derive(Debug)]
pub struct Machine {
    config: Config,
    accelerator: Accelerator,
    kernel: File,
    image: File,
    command_line: String,
    status: Status,
}

/// A run came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The host lacks memory, descriptors or the program.
    #[error("{step}: {source}")]
    Host {
        /// What was tried.
        step: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// What QEMU is held to cannot be made.
    #[error("QEMU cannot be confined: {0}")]
    Confinement(#[from] ConfinementError),
    /// QEMU's limits cannot be set, or what was in its group cannot be ended.
    #[error("the enclave's control group: {0}")]
    Group(#[from] CgroupError),
    /// It did not come up.
    #[error("the enclave opened no link to its card within {0:?}")]
    Hangs(Duration),
    /// It came up, and answers no more.
    #[error("the enclave has not answered its hypervisor for {0:?}")]
    Silent(Duration),
    /// It broke a port's protocol.
    #[error("the enclave's port failed: {0}")]
    Port(io::Error),
}

impl Machine {
    /// From what was measured.
    pub fn new(config: Config, status: Status) -> anyhow::Result<Self> {
        let read = |path: &std::path::Path| {
            fs::read(path).with_context(|| format!("could not read {}", path.display()))
        };
        let command_line = String::from_utf8(read(&config.command_line)?)?;
        let image = image::sealed(&read(&config.image)?, &read(&config.config)?)?;
        let kernel = image::sealed_copy(&[&read(&config.kernel)?])?;
        if let Some(parts) = &config.parts {
            parts.link().context("QEMU's folder")?;
        }
        Ok(Self {
            accelerator: Accelerator::for_host(config.accelerator, config.qemu.user),
            command_line: command_line.trim_end().to_owned(),
            kernel,
            image,
            config,
            status,
        })
    }

    /// Runs it to its end. `up` is called once its first link is open.
    pub async fn run(&self, up: impl FnOnce()) -> Result<ExitStatus, RunError> {
        let group = group::create(&self.config)?;
        let running = self.status.starts(&group);
        let ended = self.run_in(&group, up).await;
        drop(running);
        // QEMU was waited for: what is there now it must not have left.
        group::end(&group).await?;
        ended
    }

    async fn run_in(&self, group: &Cgroup, up: impl FnOnce()) -> Result<ExitStatus, RunError> {
        let pair = || pair().map_err(host("sockets to QEMU"));
        let (console, their_console) = pair()?;
        let (card, their_card) = pair()?;
        let (hypervisor, their_hypervisor) = pair()?;
        let (verifier, their_verifier) = pair()?;
        let theirs = [&their_card, &their_hypervisor, &their_verifier];
        let mut qemu = self.start(group, &their_console, theirs)?;
        drop((their_console, their_card, their_hypervisor, their_verifier));
        let opened = Notify::new();
        let [by_card, by_hypervisor, by_verifier] = [(); 3].map(|()| Owed::default());
        let to = &self.config.links;
        let patience = Duration::from_secs(self.config.start_s.into());
        let watching = async {
            if timeout(patience, opened.notified()).await.is_err() {
                return RunError::Hangs(patience);
            }
            up();
            // What the card or the verifier says need not be answered at once.
            let patience = Duration::from_secs(self.config.silence_s.into());
            by_hypervisor.for_long(patience).await;
            RunError::Silent(patience)
        };
        let serving = async {
            tokio::select! {
                error = links::serve("card", card, &to.card, &by_card, |open| {
                    opened.notify_one();
                    self.status.link(|links| links.card = open);
                }) => error,
                error = links::serve("hypervisor", hypervisor, &to.hypervisor, &by_hypervisor, |open| {
                    self.status.link(|links| links.hypervisor = open);
                }) => error,
                error = links::serve("verifier", verifier, &to.verifier, &by_verifier, |open| {
                    self.status.link(|links| links.verifier = open);
                }) => error,
            }
        };
        let logging = async {
            log(console).await;
            std::future::pending::<()>().await
        };
        tokio::select! {
            // A machine that ended is no port that failed.
            biased;
            status = qemu.exited() => status.map_err(host("waiting for QEMU")),
            () = logging => Err(RunError::Port(io::ErrorKind::BrokenPipe.into())),
            error = serving => {
                // QEMU closes its ports a moment before it has ended.
                match timeout(Duration::from_secs(1), qemu.exited()).await {
                    Ok(status) => status.map_err(host("waiting for QEMU")),
                    Err(_) => Err(RunError::Port(error)),
                }
            }
            // Last: where this process itself stood still, an answer may have come that was not moved yet.
            error = watching => Err(error),
        }
    }

    fn start(
        &self,
        group: &Cgroup,
        console: &StdStream,
        ports: [&StdStream; 3],
    ) -> Result<Process, RunError> {
        let [card, hypervisor, verifier] = ports.map(AsRawFd::as_raw_fd);
        let arguments = build(&Arguments {
            accelerator: self.accelerator,
            memory_mib: self.config.memory_mib,
            kernel: self.kernel.as_raw_fd(),
            image: self.image.as_raw_fd(),
            command_line: &self.command_line,
            console: console.as_raw_fd(),
            ports: [
                ("card", card),
                ("hypervisor", hypervisor),
                ("verifier", verifier),
            ],
        });
        let qemu = &self.config.qemu;
        let parts = self.config.parts.as_ref();
        let execution = match parts {
            Some(parts) => parts.execution(),
            None => Execution::of_path(&qemu.program),
        };
        let stderr = io::stderr().as_fd().try_clone_to_owned();
        let stderr: OwnedFd = stderr.map_err(host("QEMU's standard error"))?;
        let mut confined = Confined::new(&execution.program)
            .args(&execution.arguments)
            .args(arguments)
            .envs(parts.iter().flat_map(|parts| parts.environment()))
            .in_groups(
                group
                    .process_files()
                    .map_err(host("QEMU's control group"))?,
            )
            .user(qemu.user)
            .restricted(restrictions(
                &qemu.program,
                None,
                self.accelerator,
                VhostLink::None,
            )?)
            .stderr(stderr)
            .keep(self.kernel.as_fd())
            .keep(self.image.as_fd())
            .keep(console.as_fd());
        for port in ports {
            confined = confined.keep(port.as_fd());
        }
        let parts = parts.map(|parts| parts.descriptors()).transpose();
        let parts = parts.map_err(host("what QEMU is made of"))?;
        for descriptor in parts.into_iter().flatten() {
            confined = confined.keep(descriptor);
        }
        confined.spawn().map_err(host("QEMU"))
    }
}

/// Logs what the machine says, as far as there is room.
async fn log(mut console: UnixStream) {
    let (mut buffer, mut line, mut left) = ([0; 1024], Vec::new(), CONSOLE);
    while let Ok(size @ 1..) = console.read(&mut buffer).await {
        for byte in buffer.get(..size).unwrap_or_default() {
            if *byte == b'\n' || line.len() >= LINE {
                if left > 0 {
                    let text = String::from_utf8_lossy(&line);
                    tracing::info!(console = %text.trim_end().escape_debug());
                }
                left = left.saturating_sub(line.len() + 1);
                line.clear();
            } else {
                line.push(*byte);
            }
        }
    }
}

fn pair() -> io::Result<(UnixStream, StdStream)> {
    let (near, far) = StdStream::pair()?;
    near.set_nonblocking(true)?;
    Ok((UnixStream::from_std(near)?, far))
}

fn host(step: &'static str) -> impl FnOnce(io::Error) -> RunError {
    move |source| RunError::Host { step, source }
}
