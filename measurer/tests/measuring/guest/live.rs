//! Snapshots by `live` of a real guest under QEMU, into which the library is preloaded.

use std::path::PathBuf;
use std::time::Duration;

use bartizan_attestation::host::Outcome;
use bartizan_attestation::measurement::{DigestKind, Region, SnapshotMode, Target};

use super::{BUDGET, folder, kernel};
use crate::live::Witness;
use crate::machine::Vm;
use crate::signatures::{request, signed, verified};
use crate::supervisor::{Machine, Pauses, Supervisor};
use crate::tracked::Tracked;

const HUGE_PAGE: u64 = 2 << 20;
/// Of each kind.
const SNAPSHOTS: usize = 25;

/// A guest that writes to two distant pages in lockstep.
struct Lockstep {
    vm: Vm,
    tracked: Tracked,
    kernel: PathBuf,
    /// Its pages, from the first to the last that it writes.
    regions: Vec<Region>,
}

impl Lockstep {
    fn boot(name: &str) -> Self {
        let kernel = kernel("BARTIZAN_TEST_KERNEL");
        let mut vm = Vm::boot_tracked(&folder(name), &kernel, "lockstep.rs", "max,la57=off");
        let tracked = vm.tracked();
        let said = vm.until_ready();
        let pages = said.iter().find_map(|line| line.strip_prefix("PAGES "));
        let regions = pages
            .unwrap()
            .split(' ')
            .map(|at| Region {
                address: u64::from_str_radix(at, 16).unwrap(),
                size: HUGE_PAGE,
            })
            .collect();
        Self {
            vm,
            tracked,
            kernel,
            regions,
        }
    }

    fn witness(&mut self) -> Witness<'_, Vm> {
        Witness {
            ram: self.vm.ram.try_clone().unwrap(),
            ranges: self.vm.ranges.clone(),
            machine: &mut self.vm,
            regions: self.regions.clone(),
            held: Vec::new(),
        }
    }

    fn tracking(&self) -> Supervisor {
        Supervisor::tracking(&self.vm.ram, &self.vm.ranges, BUDGET, &self.tracked)
    }
}

/// The counters as they were in a pause.
fn counters(held: &[u8]) -> [u64; 2] {
    [0, held.len() - 4096].map(|at| {
        let bytes = held[at..].first_chunk().unwrap();
        u64::from_le_bytes(*bytes)
    })
}

#[test]
#[ignore = "boots a guest: set BARTIZAN_TEST_KERNEL to the path of Debian's vmlinuz (6.1 or later)"]
fn a_guest_that_writes_is_never_torn() {
    let mut guest = Lockstep::boot("lockstep");
    let mut supervisor = guest.tracking();
    let (mut dirtied, mut pauses, mut last) = (Vec::new(), Vec::new(), 0);
    for _ in 0..SNAPSHOTS {
        for kind in [DigestKind::Flat, DigestKind::Tree] {
            let mut witness = guest.witness();
            let (report, expected) = witness.measured(&mut supervisor, kind);
            assert_eq!(report.digest, expected, "torn: {:?}", report.snapshot);
            assert_eq!(report.snapshot.mode, SnapshotMode::Live);
            let [first, second] = counters(&witness.held);
            assert!(first == second || first == second + 1, "{first} {second}");
            assert!(first > last, "it runs on between snapshots");
            last = first;
            dirtied.push(report.snapshot.dirtied_pages);
            pauses.push(report.snapshot.pause_us);
        }
    }
    assert_eq!(guest.tracked.protected(), 0);
    assert!(dirtied.iter().all(|pages| *pages >= 1), "{dirtied:?}");
    eprintln!(
        "pages that were written at last: {dirtied:?}; paused, with the witness's copy: {pauses:?} µs"
    );

    // The control: the same by pause-copy.
    let mut supervisor = Supervisor::uncertified(&guest.vm.ram, &guest.vm.ranges, None, BUDGET);
    supervisor.certify(Duration::from_secs(600));
    let (report, expected) = guest.witness().measured(&mut supervisor, DigestKind::Flat);
    assert_eq!(report.digest, expected);
    assert_eq!(report.snapshot.mode, SnapshotMode::PauseCopy);
}

#[test]
#[ignore = "boots a guest: set BARTIZAN_TEST_KERNEL to the path of Debian's vmlinuz (6.1 or later)"]
fn a_process_is_measured_live() {
    let mut guest = Lockstep::boot("live-process");
    let (vm, kernel) = (&guest.vm, Some(guest.kernel.as_path()));
    let tracked = Some(&guest.tracked);
    let mut supervisor = Supervisor::after(&vm.ram, &vm.ranges, kernel, BUDGET, None, tracked);
    supervisor.certify(Duration::from_secs(600));
    let mut digests = Vec::new();
    for kind in [DigestKind::Flat, DigestKind::Tree, DigestKind::Flat] {
        let mut request = request(Target::Profile { pid: 1 });
        request.kind = kind;
        let held = &mut std::iter::repeat(Pauses::Held);
        let outcome = supervisor.measure_with(signed(&request), held, &mut guest.vm);
        let Outcome::Report(report) = outcome else {
            panic!("{outcome:?}")
        };
        let report = verified(&report.message).0;
        assert_eq!(report.snapshot.mode, SnapshotMode::Live);
        eprintln!("{} regions: {:?}", report.regions.len(), report.snapshot);
        digests.push(report.digest);
    }
    assert_eq!(digests[0], digests[2]);
}

/// A guest whose measurer is killed in each of its pauses.
struct Deadly<'a> {
    vm: &'a mut Vm,
    measurer: u32,
}

impl Machine for Deadly<'_> {
    fn stop(&mut self) {
        self.vm.stop();
        let pid = rustix::process::Pid::from_raw(self.measurer.cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    fn resume(&mut self) {
        self.vm.resume();
    }
}

#[test]
#[ignore = "boots a guest: set BARTIZAN_TEST_KERNEL to the path of Debian's vmlinuz (6.1 or later)"]
fn a_guest_goes_on_when_its_measurer_is_killed() {
    let mut guest = Lockstep::boot("live-killed");
    let mut last = 0;
    for _ in 0..3 {
        let mut supervisor = guest.tracking();
        let request = signed(&request(Target::Physical(guest.regions.clone())));
        let mut machine = Deadly {
            measurer: supervisor.pid(),
            vm: &mut guest.vm,
        };
        supervisor.is_lost_while_it_measures(request, &mut machine);
        assert!(guest.tracked.protected() > 0);
        guest.tracked.release();
        assert_eq!(guest.tracked.protected(), 0);

        let mut next = guest.tracking();
        let mut witness = guest.witness();
        let (report, expected) = witness.measured(&mut next, DigestKind::Tree);
        assert_eq!(report.digest, expected);
        assert_eq!(report.snapshot.mode, SnapshotMode::Live);
        let [counter, _] = counters(&witness.held);
        assert!(counter > last);
        last = counter;
    }
}
