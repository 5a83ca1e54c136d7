//! The supervisor's end of the measurer.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use bartizan_attestation::host::{
    FromMeasurer, MAX_FRAME, MeasurerContext, Outcome, RamRange, ReportKeyRotated, ToMeasurer,
};
use bartizan_attestation::identity::{CardId, GuestIdentity};
use bartizan_attestation::measurement::{Digest, Refusal, Report};
use bartizan_local::{read_frame, write_frame};

use crate::inheriting::spawn_with;
use crate::ram::Ram;
use crate::signatures::{certify, verified};
use crate::tracked::Tracked;

/// No answer takes longer; building a kernel profile in an unoptimised program is the slowest.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) const BUDGET: u64 = 3 << 20;

/// How a pause is answered.
#[derive(Clone, Copy)]
pub(crate) enum Pauses {
    Held,
    LeaseRunsOut,
    Refused,
}

/// A measurer, and everything that the test says to it.
pub(crate) struct Supervisor {
    measurer: Child,
    socket: UnixStream,
    /// Pauses so far.
    pub(crate) pauses: u32,
    /// Where the guest's kernel was found.
    pub(crate) kernel_text: Option<u64>,
    /// The keys that were taken into use, each with the last order before it was made.
    pub(crate) installed: Vec<(Option<u64>, ReportKeyRotated)>,
}

impl Supervisor {
    /// A measurer of `ram` without a kernel, certified for an hour.
    pub(crate) fn start(ram: &Ram) -> Self {
        let mut supervisor = Self::uncertified(&ram.file, &ram.ranges, None, BUDGET);
        supervisor.certify(Duration::from_secs(3600));
        supervisor
    }

    /// A measurer that has its context and nothing else.
    pub(crate) fn uncertified(
        ram: &File,
        ranges: &[RamRange],
        kernel: Option<&Path>,
        budget: u64,
    ) -> Self {
        Self::after(ram, ranges, kernel, budget, None, None)
    }

    /// A measurer without a kernel that can track who writes, certified for an hour.
    pub(crate) fn tracking(
        ram: &File,
        ranges: &[RamRange],
        budget: u64,
        tracked: &Tracked,
    ) -> Self {
        let mut supervisor = Self::after(ram, ranges, None, budget, None, Some(tracked));
        supervisor.certify(Duration::from_secs(3600));
        supervisor
    }

    /// The same, where a measurer before it found the guest's kernel, and of RAM whose writes are tracked.
    pub(crate) fn after(
        ram: &File,
        ranges: &[RamRange],
        kernel: Option<&Path>,
        budget: u64,
        kernel_text: Option<u64>,
        tracked: Option<&Tracked>,
    ) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut supervisor = Self {
            measurer: spawn(theirs.into(), ram, kernel, tracked),
            socket: ours,
            pauses: 0,
            kernel_text,
            installed: Vec::new(),
        };
        supervisor.tell(&ToMeasurer::Context(MeasurerContext {
            guest: guest(),
            launch_measurement: Digest(vec![3; 48]),
            ram: ranges.to_vec(),
            bytes_per_request: budget,
            hypervisor_version: "0.1.0".into(),
            kernel_text,
            tracked: tracked.map(Tracked::mappings),
        }));
        supervisor
    }

    pub(crate) fn tell(&mut self, message: &ToMeasurer) {
        write_frame(&mut self.socket, message, MAX_FRAME).unwrap();
    }

    pub(crate) fn hear(&mut self) -> FromMeasurer {
        loop {
            match read_frame(&mut self.socket, MAX_FRAME).unwrap() {
                FromMeasurer::KernelFound { text } => {
                    assert_eq!(self.kernel_text, None, "said twice");
                    self.kernel_text = Some(text);
                }
                FromMeasurer::KeyInstalled { order, rotated } => {
                    self.installed.push((order, rotated));
                }
                other => return other,
            }
        }
    }

    /// Answers the CSR that comes next.
    pub(crate) fn certify(&mut self, lifetime: Duration) -> Vec<Vec<u8>> {
        let FromMeasurer::CertificateNeeded { csr } = self.hear() else {
            panic!("no CSR")
        };
        let chain = certify(&csr, lifetime);
        self.tell(&ToMeasurer::Certificate(
            chain.iter().cloned().map(Into::into).collect(),
        ));
        chain
    }

    /// Asks for a measurement, holding the guest still for as long as it takes.
    pub(crate) fn measure(&mut self, request: Vec<u8>) -> Result<Report, Refusal> {
        match self.measure_with(request, &mut std::iter::repeat(Pauses::Held), &mut NoGuest) {
            Outcome::Report(report) => Ok(verified(&report.message).0),
            Outcome::Refused(refusal) => Err(refusal),
        }
    }

    /// Asks for a measurement and answers each of its pauses.
    pub(crate) fn measure_with(
        &mut self,
        request: Vec<u8>,
        pauses: &mut impl Iterator<Item = Pauses>,
        machine: &mut impl Machine,
    ) -> Outcome {
        self.tell(&ToMeasurer::Measure { id: 7, request });
        loop {
            match self.hear() {
                FromMeasurer::Measured { id: 7, outcome } => return outcome,
                FromMeasurer::Pause { lease_ms } => {
                    assert!((1..=5000).contains(&lease_ms));
                    self.pauses += 1;
                    self.hold(pauses.next().unwrap(), machine);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Asks for a measurement in whose first pause the measurer ends, by what stops the machine.
    pub(crate) fn is_lost_while_it_measures(
        &mut self,
        request: Vec<u8>,
        machine: &mut impl Machine,
    ) {
        self.tell(&ToMeasurer::Measure { id: 7, request });
        let FromMeasurer::Pause { .. } = self.hear() else {
            panic!("no pause")
        };
        machine.stop();
        self.measurer.wait().unwrap();
        machine.resume();
    }

    fn hold(&mut self, pause: Pauses, machine: &mut impl Machine) {
        if matches!(pause, Pauses::Refused) {
            return self.tell(&ToMeasurer::Paused { stopped: false });
        }
        machine.stop();
        let began = Instant::now();
        self.tell(&ToMeasurer::Paused { stopped: true });
        assert_eq!(self.hear(), FromMeasurer::Resume);
        machine.resume();
        let pause_us = u64::try_from(began.elapsed().as_micros()).unwrap();
        let in_time = matches!(pause, Pauses::Held);
        self.tell(&ToMeasurer::Resumed { in_time, pause_us });
    }

    pub(crate) fn pid(&self) -> u32 {
        self.measurer.id()
    }

    /// Closes the link and waits for the measurer's end.
    pub(crate) fn end(mut self) -> ExitStatus {
        self.socket.shutdown(std::net::Shutdown::Both).unwrap();
        self.measurer.wait().unwrap()
    }

    /// Waits for the measurer to end by itself.
    pub(crate) fn wait(mut self) -> ExitStatus {
        self.measurer.wait().unwrap()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // Both fail harmlessly where it has ended already.
        let _ = self.measurer.kill();
        let _ = self.measurer.wait();
    }
}

/// What is stopped and resumed.
pub(crate) trait Machine {
    fn stop(&mut self);
    fn resume(&mut self);
}

/// RAM that nobody writes to.
pub(crate) struct NoGuest;

impl Machine for NoGuest {
    fn stop(&mut self) {}
    fn resume(&mut self) {}
}

pub(crate) fn guest() -> GuestIdentity {
    GuestIdentity {
        card: CardId([1; 32]),
        vm: [2; 16],
        boot: 1,
    }
}

/// The shell puts the descriptors into place that may stand where its own are.
fn spawn(control: OwnedFd, ram: &File, kernel: Option<&Path>, tracked: Option<&Tracked>) -> Child {
    let script = match kernel {
        Some(_) => r#"exec "$@" --kernel 3<&0 4<&1 5<"$0" </dev/null >/dev/null"#,
        None => r#"exec "$@" 3<&0 4<&1 </dev/null >/dev/null"#,
    };
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .arg(kernel.unwrap_or("sh".as_ref()))
        .arg(env!("CARGO_BIN_EXE_bartizan-measurer"))
        .args(tracked.map(|_| "--tracked"))
        .stdin(control)
        .stdout(Stdio::from(read_only(ram)))
        .env("RUST_LOG", "warn");
    let placed = tracked.map(|tracked| {
        [
            (6, tracked.page_map.as_fd()),
            (7, tracked.log.as_fd()),
            (8, tracked.userfault.as_fd()),
        ]
    });
    spawn_with(&mut command, placed.as_ref().map_or(&[], |placed| placed))
}

fn read_only(ram: &File) -> OwnedFd {
    use std::os::fd::AsRawFd;
    File::open(format!("/proc/self/fd/{}", ram.as_fd().as_raw_fd()))
        .unwrap()
        .into()
}
