//! Snapshots by `live`, of RAM that a thread of this process writes to.
//!
//! Needs `/dev/userfaultfd`, Linux 6.7 and root; where one is missing, the tests fail and say which.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bartizan_attestation::digest::{hash, tree_root};
use bartizan_attestation::host::{Outcome, RamRange};
use bartizan_attestation::measurement::{
    Digest, DigestKind, HashAlgorithm, Region, Report, SnapshotMode, Target,
};

use crate::ram::{HIGH, MIB};
use crate::signatures::{request, signed, verified};
use crate::supervisor::{Machine, Pauses, Supervisor};
use crate::tracked::Tracked;
use crate::writer::{Habit, Memory, Writer};

const ALGORITHM: HashAlgorithm = HashAlgorithm::Sha256;
const SIZE: u64 = 32 * MIB;
const BUDGET: u64 = 512 * MIB;

/// A machine, and what its RAM held whenever it stood still.
pub(crate) struct Witness<'a, M> {
    pub(crate) machine: &'a mut M,
    pub(crate) ram: File,
    pub(crate) ranges: Vec<RamRange>,
    pub(crate) regions: Vec<Region>,
    pub(crate) held: Vec<u8>,
}

impl<M: Machine> Machine for Witness<'_, M> {
    fn stop(&mut self) {
        self.machine.stop();
        self.held.clear();
        for region in &self.regions {
            let holds = |range: &&RamRange| {
                (range.address..range.address + range.size).contains(&region.address)
            };
            let range = self.ranges.iter().find(holds).unwrap();
            let mut bytes = vec![0; usize::try_from(region.size).unwrap()];
            let at = range.file_offset + region.address - range.address;
            self.ram.read_exact_at(&mut bytes, at).unwrap();
            self.held.extend(bytes);
        }
    }

    fn resume(&mut self) {
        self.machine.resume();
    }
}

impl<M: Machine> Witness<'_, M> {
    /// Measures the regions, and what the digest must be.
    pub(crate) fn measured(
        &mut self,
        supervisor: &mut Supervisor,
        kind: DigestKind,
    ) -> (Report, Digest) {
        let mut request = request(Target::Physical(self.regions.clone()));
        request.kind = kind;
        let held = &mut std::iter::repeat(Pauses::Held);
        let outcome = supervisor.measure_with(signed(&request), held, self);
        let Outcome::Report(report) = outcome else {
            panic!("{outcome:?}")
        };
        let expected = match kind {
            DigestKind::Flat => hash(ALGORITHM, &self.held),
            DigestKind::Tree => {
                let pages = self.held.chunks(4096);
                let pages: Vec<u8> = pages.flat_map(|page| hash(ALGORITHM, page).0).collect();
                tree_root(ALGORITHM, &pages)
            }
        };
        (verified(&report.message).0, expected)
    }
}

/// A guest that a thread plays, and its measurer.
struct Scene {
    memory: Arc<Memory>,
    writer: Writer,
    tracked: Tracked,
    regions: Vec<Region>,
}

impl Scene {
    fn new(size: u64, habit: Habit) -> Self {
        let memory = Arc::new(Memory::new(size));
        let region = |address, size| Region { address, size };
        Self {
            tracked: Tracked::own(&memory.file),
            writer: Writer::start(&memory, habit),
            // On both sides of the hole, not in the order of addresses, and not everything.
            regions: vec![
                region(HIGH + MIB, size / 2 - MIB),
                region(0, size / 2 - MIB),
            ],
            memory,
        }
    }

    fn tracking(&self) -> Supervisor {
        let (file, ranges) = (&self.memory.file, &self.memory.ranges);
        Supervisor::tracking(file, ranges, BUDGET, &self.tracked)
    }

    fn without(&self) -> Supervisor {
        let (file, ranges) = (&self.memory.file, &self.memory.ranges);
        let mut supervisor = Supervisor::uncertified(file, ranges, None, BUDGET);
        supervisor.certify(std::time::Duration::from_secs(3600));
        supervisor
    }

    fn witness(&mut self) -> Witness<'_, Writer> {
        Witness {
            machine: &mut self.writer,
            ram: self.memory.file.try_clone().unwrap(),
            ranges: self.memory.ranges.clone(),
            regions: self.regions.clone(),
            held: Vec::new(),
        }
    }

    /// Measures, and demands that it is as of the pause.
    fn snapshot(&mut self, supervisor: &mut Supervisor, kind: DigestKind) -> Report {
        let (report, expected) = self.witness().measured(supervisor, kind);
        assert_eq!(report.digest, expected, "torn: {:?}", report.snapshot);
        report
    }
}

#[test]
fn a_snapshot_is_never_torn() {
    let mut scene = Scene::new(SIZE, Habit::Here);
    let mut supervisor = scene.tracking();
    let (mut dirtied, mut digests) = (0, Vec::new());
    for _ in 0..12 {
        for kind in [DigestKind::Flat, DigestKind::Tree] {
            let report = scene.snapshot(&mut supervisor, kind);
            assert_eq!(report.snapshot.mode, SnapshotMode::Live, "{kind:?}");
            dirtied += report.snapshot.dirtied_pages;
            digests.push(report.digest);
            assert_eq!(scene.tracked.protected(), 0);
        }
    }
    assert!(dirtied > 0, "somebody wrote at the last moment");
    digests.sort_by(|a, b| a.0.cmp(&b.0));
    digests.dedup();
    assert_eq!(digests.len(), 24, "somebody wrote between snapshots");
}

/// What the tests above and below compare with is right, and a copy of what is being written is not.
#[test]
fn the_same_by_pause_copy_and_without_a_pause() {
    let mut scene = Scene::new(SIZE, Habit::Here);
    let mut supervisor = scene.without();
    let report = scene.snapshot(&mut supervisor, DigestKind::Flat);
    assert_eq!(report.snapshot.mode, SnapshotMode::PauseCopy);
    assert_eq!(report.snapshot.dirtied_pages, 0);

    let look = |scene: &mut Scene| {
        let mut witness = scene.witness();
        witness.stop();
        witness.resume();
        witness.held
    };
    let held = look(&mut scene);
    scene.writer.goes_on();
    scene.writer.goes_on();
    assert!(held != look(&mut scene));
}

#[test]
fn a_guest_that_writes_everything_all_the_time_is_measured_and_the_report_says_how() {
    let mut scene = Scene::new(128 * MIB, Habit::Everywhere);
    let mut supervisor = scene.tracking();
    let flat = scene.snapshot(&mut supervisor, DigestKind::Flat).snapshot;
    assert_eq!(flat.mode, SnapshotMode::Live);
    assert!(flat.dirtied_pages > 8192, "{flat:?}");
    let tree = scene.snapshot(&mut supervisor, DigestKind::Tree).snapshot;
    assert_eq!(tree.mode, SnapshotMode::PauseCopy);
    assert_eq!(scene.tracked.protected(), 0);
}

/// A page's digest does not depend on which way it was taken.
#[test]
fn both_ways_give_the_same_digests() {
    let memory = Arc::new(Memory::new(SIZE));
    (0..memory.pages()).for_each(|page| memory.write(page, page % 512, page));
    let tracked = Tracked::own(&memory.file);
    let (file, ranges) = (&memory.file, &memory.ranges);
    let mut live = Supervisor::tracking(file, ranges, BUDGET, &tracked);
    let mut pause_copy = Supervisor::uncertified(file, ranges, None, BUDGET);
    pause_copy.certify(std::time::Duration::from_secs(3600));
    for algorithm in [HashAlgorithm::Sha256, HashAlgorithm::Blake3] {
        for kind in [DigestKind::Flat, DigestKind::Tree] {
            let regions = [(HIGH, 4 * MIB), (MIB, MIB), (HIGH + 8 * MIB, MIB)];
            let regions = regions.map(|(address, size)| Region { address, size });
            let mut request = request(Target::Physical(regions.to_vec()));
            (request.algorithm, request.kind) = (algorithm, kind);
            let measured = [&mut live, &mut pause_copy]
                .map(|supervisor| supervisor.measure(signed(&request)).unwrap());
            let [live, pause_copy] =
                measured.map(|report| (report.digest, report.regions, report.page_digests));
            assert_eq!(live, pause_copy, "{algorithm} {kind:?}");
        }
    }
}

/// A machine whose measurer is killed whenever it stands still.
struct Deadly<'a> {
    writer: &'a mut Writer,
    measurer: u32,
}

impl Machine for Deadly<'_> {
    fn stop(&mut self) {
        self.writer.stop();
        let pid = rustix::process::Pid::from_raw(self.measurer.cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    fn resume(&mut self) {
        self.writer.resume();
    }
}

#[test]
fn a_measurer_that_is_killed_in_the_midst_leaves_nothing_protected() {
    let mut scene = Scene::new(SIZE, Habit::Here);
    for _ in 0..3 {
        let mut supervisor = scene.tracking();
        let mut machine = Deadly {
            measurer: supervisor.pid(),
            writer: &mut scene.writer,
        };
        let request = signed(&request(Target::Physical(scene.regions.clone())));
        supervisor.is_lost_while_it_measures(request, &mut machine);
        // What it had protected is, and holds nobody up.
        assert!(scene.tracked.protected() > 0);
        scene.writer.goes_on();
        scene.tracked.release();
        assert_eq!(scene.tracked.protected(), 0);

        let mut next = scene.tracking();
        let report = scene.snapshot(&mut next, DigestKind::Tree);
        assert_eq!(report.snapshot.mode, SnapshotMode::Live);
    }
    // Whoever else holds the userfaultfd: nobody, the next time.
    let mut supervisor = scene.tracking();
    let other = Tracked::own(&scene.memory.file);
    scene.tracked = other;
    let mut machine = Deadly {
        measurer: supervisor.pid(),
        writer: &mut scene.writer,
    };
    let request = signed(&request(Target::Physical(scene.regions.clone())));
    supervisor.is_lost_while_it_measures(request, &mut machine);
    assert_eq!(scene.tracked.protected(), 0);
}

#[test]
fn a_tracker_that_fails_is_done_without_until_it_works_again() {
    let mut scene = Scene::new(SIZE, Habit::Here);
    let mut supervisor = scene.tracking();
    // Somebody else's userfaultfd is there before it.
    let other = Tracked::own(&scene.memory.file);
    for mapped in &other.mapped {
        other.userfault.register(mapped.address()).unwrap();
    }
    for kind in [DigestKind::Flat, DigestKind::Tree] {
        let report = scene.snapshot(&mut supervisor, kind);
        assert_eq!(report.snapshot.mode, SnapshotMode::PauseCopy);
    }
    drop(other);
    let report = scene.snapshot(&mut supervisor, DigestKind::Flat);
    assert_eq!(report.snapshot.mode, SnapshotMode::Live);
}

#[test]
fn what_does_not_fit_together_is_not_tracked() {
    let mut scene = Scene::new(SIZE, Habit::Here);
    // A log of other RAM.
    scene.tracked.log = bartizan_write_tracking::Log::create(SIZE / 2).unwrap();
    let mut supervisor = scene.tracking();
    let report = scene.snapshot(&mut supervisor, DigestKind::Flat);
    assert_eq!(report.snapshot.mode, SnapshotMode::PauseCopy);
}

/// What devices say that they wrote is told as what QEMU wrote.
#[test]
fn the_log_of_other_writers_is_looked_at() {
    let scene = Scene::new(SIZE, Habit::Here);
    let memory = Arc::clone(&scene.memory);
    let mut supervisor = scene.tracking();
    let log = bartizan_write_tracking::Log::map(&scene.tracked.log, SIZE).unwrap();
    drop(scene.writer);
    /// A device that writes at the last moment, past the mapping.
    struct Device<'a> {
        memory: &'a Memory,
        log: bartizan_write_tracking::Log,
    }
    impl Machine for Device<'_> {
        fn stop(&mut self) {
            self.memory
                .file
                .write_all_at(&[7; 9000], 5 * 4096 + 7)
                .unwrap();
            self.log.note(5 * 4096 + 7, 9000);
        }
        fn resume(&mut self) {}
    }
    let mut device = Device {
        memory: &memory,
        log,
    };
    let regions = [Region {
        address: 0,
        size: MIB,
    }];
    for kind in [DigestKind::Flat, DigestKind::Tree] {
        let mut witness = Witness {
            machine: &mut device,
            ram: memory.file.try_clone().unwrap(),
            ranges: memory.ranges.clone(),
            regions: regions.to_vec(),
            held: Vec::new(),
        };
        let (report, expected) = witness.measured(&mut supervisor, kind);
        assert_eq!(report.digest, expected);
        assert_eq!(report.snapshot.dirtied_pages, 3);
    }
}

/// A machine that looks, whenever it stands still, how much memory of its own its measurer has, in KiB.
struct Weighed<'a> {
    writer: &'a mut Writer,
    measurer: u32,
    most: u64,
}

impl Machine for Weighed<'_> {
    fn stop(&mut self) {
        self.writer.stop();
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.measurer)).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let size = line.unwrap().trim().trim_end_matches(" kB");
        self.most = self.most.max(size.parse().unwrap());
    }

    fn resume(&mut self) {
        self.writer.resume();
    }
}

#[test]
fn a_tree_needs_no_copy_of_the_regions() {
    let measured = weigh(256 * MIB);
    let [flat, tree] = [DigestKind::Flat, DigestKind::Tree].map(measured);
    assert!(flat > 256 * 1024, "{flat} KiB");
    assert!(tree < 48 * 1024, "{tree} KiB");
}

#[test]
#[ignore = "takes 2 GiB of memory and some seconds"]
fn a_tree_over_two_gibibytes() {
    let tree = weigh(2048 * MIB)(DigestKind::Tree);
    eprintln!("2 GiB by tree: {tree} KiB of the measurer's own");
    assert!(tree < 128 * 1024, "{tree} KiB");
}

fn weigh(size: u64) -> impl Fn(DigestKind) -> u64 {
    move |kind| {
        let memory = Arc::new(Memory::new(size));
        let mut writer = Writer::start(&memory, Habit::Here);
        let tracked = Tracked::own(&memory.file);
        let mut supervisor =
            Supervisor::tracking(&memory.file, &memory.ranges, 2048 * MIB, &tracked);
        let halves = [0, HIGH].map(|address| Region {
            address,
            size: size / 2,
        });
        let mut request = request(Target::Physical(halves.to_vec()));
        request.kind = kind;
        let mut machine = Weighed {
            measurer: supervisor.pid(),
            writer: &mut writer,
            most: 0,
        };
        let held = &mut std::iter::repeat(Pauses::Held);
        let began = std::time::Instant::now();
        let outcome = supervisor.measure_with(signed(&request), held, &mut machine);
        let Outcome::Report(report) = outcome else {
            panic!("{outcome:?}")
        };
        let report = verified(&report.message).0;
        eprintln!("{kind:?}: {:?} in {:?}", report.snapshot, began.elapsed());
        assert_eq!(report.snapshot.mode, SnapshotMode::Live);
        machine.most
    }
}
