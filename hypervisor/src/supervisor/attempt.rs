//! One QEMU process of a boot, from its start to the guest's first instruction.

mod plan;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use bartizan_write_tracking::{Handover, Receiver};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::chatter::{Allowance, Chatter};
use super::console::Console;
use super::tracking::{NotTracked, Tracked, Tracking, WriteLog};
use super::vhost::{AttachError, Devices, Link, Proxy, ProxyError};
use crate::confinement::ConfinementError;
use crate::confinement::qemu::{VhostLink, restrictions};
use crate::qemu::command_line::{self, Arguments, RAM_ID};
use crate::qemu::layout::{self, LayoutError};
use crate::qemu::process::{Confined, Process};
use crate::qemu::qmp::{Qmp, QmpError};
use crate::qemu::ram::RamFile;
pub use plan::Plan;

/// How long QEMU has to answer a monitor command; stopping a guest is the slowest.
const MONITOR_DEADLINE: Duration = Duration::from_secs(5);
/// How long the devices process has to appear when a guest starts.
const DEVICES_DEADLINE: Duration = Duration::from_secs(10);

/// A running QEMU and what belongs to it. Dropping it kills QEMU.
#[derive(Debug)]
pub struct Attempt {
    /// QEMU.
    pub qemu: Process,
    /// Its monitor.
    pub qmp: Qmp,
    /// The relays of its devices; they end when QEMU's end of a connection is of no further use.
    pub proxy: JoinHandle<ProxyError>,
    /// What QEMU prints.
    pub chatter: Chatter,
    /// What tracks the guest's writes, where they can be.
    pub tracked: Option<Tracked>,
    ram: RamFile,
    console: JoinHandle<()>,
}

/// QEMU could not be brought to the guest's first instruction.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The devices process is not there or refuses.
    #[error(transparent)]
    Devices(#[from] AttachError),
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
    /// QEMU ended.
    #[error("QEMU ended at its start ({status}): {words}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// What it printed last.
        words: String,
    },
    /// QEMU's monitor does not do what it should.
    #[error(transparent)]
    Monitor(#[from] QmpError),
    /// QEMU lays out the guest's RAM otherwise than is known.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// QEMU may hold what it must not have when its guest runs.
    #[error(transparent)]
    Tracking(NotTracked),
}

impl Attempt {
    /// Starts QEMU, checks where it put the guest's RAM, and lets the guest run.
    pub async fn start(plan: &Plan, console: &Arc<Console>) -> Result<Self, StartError> {
        match Self::start_with(plan, console, plan.tracking.as_ref()).await {
            Err(StartError::Tracking(error)) => {
                tracing::error!(%error, "QEMU is started anew, and its guest's writes are not tracked");
                Self::start_with(plan, console, None).await
            }
            outcome => outcome,
        }
    }

    async fn start_with(
        plan: &Plan,
        console: &Arc<Console>,
        tracking: Option<&Tracking>,
    ) -> Result<Self, StartError> {
        let log = tracking.and_then(|_| write_log(plan));
        let devices = plan.devices().map_err(host("the device's journal"))?;
        let attached = attach(&devices).await?;
        let network = match plan.network() {
            Some(device) => {
                let attached = attach(&device).await?;
                Some((device, attached))
            }
            None => None,
        };
        let ram = RamFile::create(plan.memory()).map_err(host("the guest's RAM file"))?;
        let tracking = tracking.filter(|_| log.is_some());
        let handover = tracking.and_then(handover);
        let by = tracking.zip(handover.as_ref());
        let devices = (devices, attached);
        let mut attempt = spawn(plan, console, by, devices, network, ram).await?;
        let tree = attempt.qmp.memory_tree().await?;
        layout::verify(&tree, RAM_ID, &plan.ranges)?;
        attempt
            .ram
            .close_to_others()
            .map_err(host("closing the RAM file to others"))?;
        if let (Some(handover), Some(log)) = (handover, log) {
            attempt.tracked = attempt.track(plan, &handover.started(), log)?;
        }
        attempt.qmp.cont().await?;
        Ok(attempt)
    }

    /// Takes what QEMU's library has sent: before the guest runs.
    fn track(
        &self,
        plan: &Plan,
        receiver: &Receiver,
        log: WriteLog,
    ) -> Result<Option<Tracked>, StartError> {
        match Tracked::new(receiver, self.qemu.pid(), plan.users.qemu, &self.ram, log) {
            Ok(tracked) => Ok(Some(tracked)),
            Err(error @ NotTracked::NotTaken(_)) => Err(StartError::Tracking(error)),
            Err(error) => {
                tracing::warn!(%error, "this guest's writes are not tracked: measurements have it stand still for longer");
                Ok(None)
            }
        }
    }

    /// The guest's RAM, open for reading only.
    pub fn ram(&self) -> Result<File, StartError> {
        self.ram
            .reopen_read_only()
            .map_err(host("opening the RAM file for reading"))
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.proxy.abort();
        self.console.abort();
    }
}

/// Waits for the devices process: the host may be starting it at this moment, and the daemon be telling it of the guest.
async fn attach(devices: &Devices) -> Result<Link, AttachError> {
    let give_up = Instant::now() + DEVICES_DEADLINE;
    loop {
        match devices.attach().await {
            Err(AttachError::Unreachable { .. } | AttachError::UnknownTicket)
                if Instant::now() < give_up =>
            {
                sleep(Duration::from_millis(100)).await;
            }
            outcome => return outcome,
        }
    }
}

async fn spawn(
    plan: &Plan,
    console: &Arc<Console>,
    tracking: Option<(&Tracking, &Handover<'_>)>,
    (devices, attached): (Devices, Link),
    network: Option<(Devices, Link)>,
    ram: RamFile,
) -> Result<Attempt, StartError> {
    let pair = || pair().map_err(host("sockets to QEMU"));
    let (qmp, their_qmp) = pair()?;
    let (port, their_port) = pair()?;
    let (vsock, their_vsock) = pair()?;
    let net = match network {
        Some(device) => Some((device, pair()?)),
        None => None,
    };
    let (net, their_net) = match net {
        Some((device, (ours, theirs))) => (Some((device, ours)), Some(theirs)),
        None => (None, None),
    };
    let link = match their_net {
        Some(_) => VhostLink::StandardInput,
        None => VhostLink::None,
    };
    let (stderr, their_stderr) = StdStream::pair().map_err(host("QEMU's standard error"))?;
    let arguments = Arguments {
        ram: ram.as_fd().as_raw_fd(),
        qmp: their_qmp.as_raw_fd(),
        console: their_port.as_raw_fd(),
        vsock: their_vsock.as_raw_fd(),
        ..plan.arguments()
    };
    let library = tracking.and_then(|(tracking, _)| tracking.library());
    let restrictions = restrictions(&plan.config.qemu.path, library, plan.accelerator, link)?;
    let execution = plan.execution();
    let parts = plan.config.qemu_parts.as_ref();
    let mut confined = Confined::new(&execution.program)
        .args(&execution.arguments)
        .args(command_line::build(&arguments))
        .envs(parts.iter().flat_map(|parts| parts.environment()))
        .user(plan.users.qemu)
        .restricted(restrictions)
        .stderr(OwnedFd::from(their_stderr));
    if let Some(theirs) = their_net {
        confined = confined.stdin(theirs);
    }
    let inherited = [
        ram.as_fd(),
        their_qmp.as_fd(),
        their_port.as_fd(),
        their_vsock.as_fd(),
    ];
    for descriptor in inherited.into_iter().chain(plan.prepared.descriptors()) {
        confined = confined.keep(descriptor);
    }
    let parts = parts
        .map(|parts| parts.descriptors())
        .transpose()
        .map_err(host("what QEMU is made of"))?;
    for descriptor in parts.into_iter().flatten() {
        confined = confined.keep(descriptor);
    }
    if let Some((_, handover)) = tracking {
        confined = confined
            .envs([handover.environment()])
            // QEMU is what is executed, and nothing before it that would have it preloaded, too.
            .envs(library.map(|library| ("LD_PRELOAD", library)));
        for descriptor in handover.descriptors() {
            confined = confined.keep(descriptor);
        }
    }
    // As long as it lives, so does this boot.
    confined = confined.keep(plan.locks.for_qemu());
    let mut qemu = confined.spawn().map_err(host("QEMU"))?;
    drop((their_qmp, their_port, their_vsock));
    let mut chatter = Chatter::listen("qemu", stderr, Allowance::default())
        .map_err(host("QEMU's standard error"))?;

    // A second descriptor of the file, which nobody can write through.
    let reader = || {
        ram.reopen_read_only()
            .map_err(host("opening the RAM file for reading"))
    };
    let vsock = Proxy::new(Link::new(vsock), devices, attached, reader()?);
    let network = match net {
        Some(((device, attached), link)) => {
            Some(Proxy::new(Link::new(link), device, attached, reader()?))
        }
        None => None,
    };
    let proxy = tokio::spawn(relay(vsock, network));
    let drained = Arc::clone(console);
    let console = tokio::spawn(async move { drained.drain(port).await });

    let qmp = tokio::select! {
        biased;
        status = qemu.exited() => {
            let status = status.map_err(host("waiting for QEMU"))?;
            return Err(StartError::Ended { status, words: chatter.last_words().await });
        }
        qmp = Qmp::connect(qmp, MONITOR_DEADLINE) => qmp,
    };
    match qmp {
        Ok(qmp) => Ok(Attempt {
            qemu,
            qmp,
            proxy,
            chatter,
            tracked: None,
            ram,
            console,
        }),
        // Its end is a better reason than its monitor's.
        Err(QmpError::Closed | QmpError::Line(_)) => {
            qemu.kill();
            let status = qemu.exited().await.map_err(host("waiting for QEMU"))?;
            Err(StartError::Ended {
                status,
                words: chatter.last_words().await,
            })
        }
        Err(error) => Err(error.into()),
    }
}

/// What QEMU is started with to be tracked; nothing where the host is short of descriptors.
fn handover(tracking: &Tracking) -> Option<Handover<'_>> {
    tracking
        .handover()
        .inspect_err(|error| tracing::warn!(%error, "this guest's writes are not tracked"))
        .ok()
}

/// The log of what devices write; none where the host is short of memory.
fn write_log(plan: &Plan) -> Option<WriteLog> {
    WriteLog::create(plan.memory())
        .inspect_err(|error| tracing::warn!(%error, "this guest's writes are not tracked"))
        .ok()
}

/// All devices' relays, until one has ended: QEMU's end of one is QEMU's end.
async fn relay(vsock: Proxy, network: Option<Proxy>) -> ProxyError {
    match network {
        None => vsock.run().await,
        Some(network) => tokio::select! {
            ended = vsock.run() => ended,
            ended = network.run() => ended,
        },
    }
}

/// Our end for tokio, the other for a child.
fn pair() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = StdStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, theirs.into()))
}

fn host(step: &'static str) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::Host { step, source }
}
