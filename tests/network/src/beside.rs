//! The daemon's way of frames between two guests beside dpdk-testpmd's, which forwards between two ports of its vhost driver: each on one
//! processor, driven by the same front ends on another. Nothing is judged by testpmd.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bartizan_measuring::{Outcome, Samples, rounds, timed};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::frame::data;
use crate::front::FrontEnd;
use crate::served::{Host, stay_on};
use crate::told::{ROUNDS, WARM_UP, outcome};

/// Of the two processors, the one of who forwards, and the one of who drives.
pub(crate) const FORWARDS: usize = 0;
pub(crate) const DRIVES: usize = 1;
/// Frames of a round.
const FRAMES: u32 = 200_000;
/// On their way at a time: no more, so that none is lost.
const WINDOW: u32 = 256;
/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(20);

/// dpdk-testpmd with two ports of its vhost driver, which stands still unless it is measured. Killed when dropped.
struct Testpmd {
    child: Child,
    folder: TempDir,
}

pub(crate) fn run(case: &'static str, size: usize) -> Result<Outcome> {
    let processors = thread::available_parallelism()?.get();
    ensure!(
        processors > DRIVES,
        "this case takes two processors, there is {processors}"
    );
    stay_on(DRIVES)?;
    let host = Host::new()?;
    let mut ours = [
        host.serve(1, Some(FORWARDS))?.0,
        host.serve(2, Some(FORWARDS))?.0,
    ];
    let testpmd = Testpmd::start()?;
    let mut theirs = [testpmd.connect("one")?, testpmd.connect("two")?];
    for [from, to] in [&mut ours, &mut theirs] {
        from.prepare(&data(1, 2, size))?;
        begin(from, to)?;
    }
    testpmd.stand_still()?;
    let (mut one, mut other) = (Samples::default(), Samples::default());
    rounds(case, WARM_UP, ROUNDS, |counts| {
        let of_ours = timed(|| carry(&mut ours))?;
        testpmd.go_on()?;
        let of_theirs = timed(|| carry(&mut theirs))?;
        testpmd.stand_still()?;
        if counts {
            one.add(of_ours / FRAMES);
            other.add(of_theirs / FRAMES);
        }
        Ok(())
    })?;
    Ok(outcome(
        case,
        0.5,
        "dpdk-testpmd, which forwards between two ports of its vhost driver and judges nothing, by the same front ends",
        &one,
        &other,
    ))
}

/// Until a frame arrives: the first one waits for a verdict, or for a back end that is not ready.
fn begin(from: &mut FrontEnd, to: &mut FrontEnd) -> Result<()> {
    let give_up = Instant::now() + PATIENCE;
    while to.receive()? == 0 {
        from.send(1)?;
        ensure!(Instant::now() < give_up, "no frame arrives");
        thread::sleep(Duration::from_millis(1));
    }
    // The others of that kind.
    let mut quiet = Instant::now();
    while quiet.elapsed() < Duration::from_millis(100) {
        if to.receive()? > 0 {
            quiet = Instant::now();
        }
    }
    Ok(())
}

fn carry([from, to]: &mut [FrontEnd; 2]) -> Result<()> {
    let (mut sent, mut received) = (0, 0);
    let give_up = Instant::now() + PATIENCE;
    while received < FRAMES {
        let most = (FRAMES - sent).min(WINDOW - (sent - received));
        sent += u32::from(from.send(u16::try_from(most)?)?);
        let now = to.receive()?;
        received += u32::from(now);
        if now == 0 {
            std::hint::spin_loop();
            ensure!(
                Instant::now() < give_up,
                "of {sent} frames {received} arrived"
            );
        }
    }
    Ok(())
}

impl Testpmd {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = |name: &str, index: u8| {
            let socket = folder.path().join(name);
            format!(
                "--vdev=net_vhost{index},iface={},queues=1",
                socket.display()
            )
        };
        let child = Command::new("dpdk-testpmd")
            .args([
                "--no-huge",
                "-m",
                "64",
                "--no-pci",
                "--no-telemetry",
                "--no-shconf",
            ])
            .arg(format!("--lcores=0@{DRIVES},1@{FORWARDS}"))
            .args([port("one", 0), port("two", 1)])
            .args([
                "--",
                "--auto-start",
                "--forward-mode=io",
                "--total-num-mbufs=8192",
            ])
            .env("RUNTIME_DIRECTORY", folder.path())
            // Until whose end it runs.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("dpdk-testpmd cannot be started; `cargo xtask setup` installs it")?;
        Ok(Self { child, folder })
    }

    /// A guest at one of its ports.
    fn connect(&self, name: &str) -> Result<FrontEnd> {
        FrontEnd::new(connected(&self.folder.path().join(name))?)
    }

    fn stand_still(&self) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::STOP)?)
    }

    fn go_on(&self) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::CONT)?)
    }
}

impl Drop for Testpmd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connected(socket: &Path) -> Result<UnixStream> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        match UnixStream::connect(socket) {
            Ok(link) => return Ok(link),
            Err(error) => {
                ensure!(Instant::now() < give_up, "{}: {error}", socket.display());
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}
