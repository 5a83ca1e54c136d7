//! A guest that writes what the test says, when the test says it; everything else is as in earnest.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::thread;

use bartizan_attestation::host::{FromMeasurer, MAX_FRAME, ToMeasurer};
use bartizan_attestation::measurement::{
    DigestKind, HashAlgorithm, MeasurementRequest, Region, Target,
};
use bartizan_guest_memory::RamRange;
use bartizan_local::{read_frame, write_frame};
use proptest::prelude::*;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

use super::*;
use crate::hashing::digests;
use crate::snapshot::{self, Tracked};
use crate::snapshot_buffer::SnapshotBuffer;

const ALGORITHM: HashAlgorithm = HashAlgorithm::Sha256;
const PAGES: u64 = 6000;

/// RAM, and when who writes it.
struct Guest {
    file: File,
    ram: GuestRam,
    /// Pages that are written before each round, and before the last look.
    rounds: RefCell<VecDeque<Vec<u64>>>,
    at_cut: Vec<u64>,
    /// Whether it is tracked now, how often it was asked for rounds, and what fails.
    armed: Cell<bool>,
    asked: Cell<usize>,
    fails: Option<Moment>,
    counter: Cell<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Moment {
    Arming,
    Round,
    Cut,
}

impl Guest {
    fn new(rounds: &[&[u64]], at_cut: &[u64]) -> Self {
        let file = memfd_create("ram", MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&file, PAGES * PAGE_SIZE).unwrap();
        fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
        let range = RamRange {
            address: Gpa(0),
            size: PAGES * PAGE_SIZE,
            file_offset: 0,
        };
        let guest = Self {
            ram: GuestRam::map(&file, &[range]).unwrap(),
            file: file.into(),
            rounds: RefCell::new(rounds.iter().map(|pages| pages.to_vec()).collect()),
            at_cut: at_cut.to_vec(),
            armed: Cell::new(false),
            asked: Cell::new(0),
            fails: None,
            counter: Cell::new(0),
        };
        (0..PAGES).for_each(|page| guest.write(page));
        guest
    }

    fn write(&self, page: u64) {
        self.counter.set(self.counter.get() + 1);
        let bytes = self.counter.get().to_le_bytes();
        self.file
            .write_all_at(&bytes, page * PAGE_SIZE + 64)
            .unwrap();
    }

    fn check(&self, moment: Moment) -> Result<(), TrackError> {
        if self.fails == Some(moment) {
            Err(TrackError::NoScan)
        } else {
            Ok(())
        }
    }

    fn contents(&self, extents: &[Extent]) -> Vec<u8> {
        let mut all = Vec::new();
        for extent in extents {
            let mut bytes = vec![0; usize::try_from(extent.size).unwrap()];
            self.file.read_exact_at(&mut bytes, extent.at.0).unwrap();
            all.extend(bytes);
        }
        all
    }

    /// Takes a snapshot; each resolution finds the next of these, the last one ever after.
    fn take(&self, form: Form, pauses: &[bool], found: &[&[Extent]]) -> Outcome {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut link = Link::new(ours).unwrap();
        let mut found: VecDeque<&[Extent]> = found.iter().copied().collect();
        let resolve = || {
            let extents = found.front().copied().unwrap();
            if found.len() > 1 {
                found.pop_front();
            }
            Ok(Found(extents.to_vec()))
        };
        thread::scope(|scope| {
            let supervisor = scope.spawn(|| supervise(theirs, pauses));
            let taken = take(&mut link, &self.ram, &mut &*self, form, resolve).unwrap();
            drop(link);
            assert!(!self.armed.get(), "nothing stays tracked");
            Outcome {
                taken,
                pauses: supervisor.join().unwrap(),
            }
        })
    }
}

struct Outcome {
    taken: Result<Taken<Found>, Failure>,
    pauses: usize,
}

impl Outcome {
    fn taken(self) -> Taken<Found> {
        match self.taken {
            Ok(taken) => taken,
            Err(Failure::NotLive(why)) => panic!("{why}"),
            Err(Failure::Refused(refusal)) => panic!("{refusal:?}"),
        }
    }

    fn not_live(self) -> NotLive {
        match self.taken {
            Err(Failure::NotLive(why)) => why,
            _ => panic!("it is live, or refused"),
        }
    }
}

/// Holds the guest still, in time or not; how often.
fn supervise(mut socket: UnixStream, pauses: &[bool]) -> usize {
    let mut asked = 0;
    while let Ok(FromMeasurer::Pause { .. }) = read_frame(&mut socket, MAX_FRAME) {
        let stopped = ToMeasurer::Paused { stopped: true };
        write_frame(&mut socket, &stopped, MAX_FRAME).unwrap();
        assert_eq!(
            read_frame::<FromMeasurer>(&mut socket, MAX_FRAME).unwrap(),
            FromMeasurer::Resume
        );
        let resumed = ToMeasurer::Resumed {
            in_time: pauses.get(asked).copied().unwrap_or(true),
            pause_us: 7,
        };
        write_frame(&mut socket, &resumed, MAX_FRAME).unwrap();
        asked += 1;
    }
    asked
}

#[derive(Debug)]
struct Found(Vec<Extent>);

impl Extents for Found {
    fn extents(&self) -> &[Extent] {
        &self.0
    }
}

struct ArmedGuest<'a>(&'a Guest);

impl<'g> Track for &'g Guest {
    type Armed<'a>
        = ArmedGuest<'g>
    where
        Self: 'a;

    fn arm(&mut self, _: &[Extent]) -> Result<ArmedGuest<'g>, TrackError> {
        self.check(Moment::Arming)?;
        self.armed.set(true);
        Ok(ArmedGuest(self))
    }
}

impl Rounds for ArmedGuest<'_> {
    fn written(&mut self, each: &mut dyn FnMut(Extent)) -> Result<(), TrackError> {
        self.0.asked.set(self.0.asked.get() + 1);
        self.0.check(Moment::Round)?;
        let pages = self.0.rounds.borrow_mut().pop_front();
        tell(self.0, &pages.unwrap_or_default(), each);
        Ok(())
    }

    fn cut(&mut self, each: &mut dyn FnMut(Extent)) -> Result<(), TrackError> {
        self.0.check(Moment::Cut)?;
        tell(self.0, &self.0.at_cut, each);
        Ok(())
    }
}

impl Drop for ArmedGuest<'_> {
    fn drop(&mut self) {
        self.0.armed.set(false);
    }
}

/// Writes to pages and tells of them; of each twice, as where two others wrote it.
fn tell(guest: &Guest, pages: &[u64], each: &mut dyn FnMut(Extent)) {
    for _ in 0..2 {
        for page in pages {
            guest.write(*page);
        }
    }
    for page in pages.iter().chain(pages) {
        each(extent(*page, 1));
    }
}

const fn extent(first: u64, pages: u64) -> Extent {
    Extent {
        at: Gpa(first * PAGE_SIZE),
        size: pages * PAGE_SIZE,
    }
}

const FORMS: [Form; 2] = [Form::Bytes, Form::PageDigests(ALGORITHM)];

/// Whether what was taken is what the guest's RAM holds.
fn is_as_of_now(guest: &Guest, taken: &Taken<Found>, form: Form) -> bool {
    let bytes = guest.contents(taken.resolved.extents());
    let mut copy = SnapshotBuffer::allocate(bytes.len()).unwrap();
    copy.bytes_mut().copy_from_slice(&bytes);
    let region = Region {
        address: 0,
        size: bytes.len() as u64,
    };
    let expected = Contents::copied(copy, region.size);
    let request = request(match form {
        Form::Bytes => DigestKind::Flat,
        Form::PageDigests(_) => DigestKind::Tree,
    });
    let of = |contents| digests(&request, &[region], contents);
    of(&taken.contents) == of(&expected)
}

fn request(kind: DigestKind) -> MeasurementRequest {
    MeasurementRequest {
        version: MeasurementRequest::VERSION,
        verifier_nonce: [1; 32],
        guest_nonce: [2; 32],
        audience: "audience".into(),
        application: "application".into(),
        target: Target::Profile { pid: 1 },
        algorithm: ALGORITHM,
        kind,
        expected: None,
        page_digests: true,
    }
}

#[test]
fn what_is_written_in_the_midst_is_in_it() {
    for form in FORMS {
        let guest = Guest::new(&[&[1, 2, 5999], &[2]], &[2, 3]);
        let all = [extent(0, PAGES)];
        let taken = guest.take(form, &[], &[&all]).taken();
        assert!(is_as_of_now(&guest, &taken, form), "{form:?}");
        assert_eq!(taken.how.mode, SnapshotMode::Live);
        assert_eq!((taken.how.dirtied_pages, taken.how.pause_us), (2, 7));
    }
}

#[test]
fn the_last_round_is_the_one_that_tells_little() {
    let many: Vec<u64> = (0..FEW).collect();
    let few = &many[1..];
    // Each page is told twice here.
    let half = &many[..255];
    for (rounds, asked) in [
        (vec![half], 1),
        (vec![&many[..], half], 2),
        (vec![few, &many, half, &many], 3),
        (vec![&many; 20], ROUNDS),
    ] {
        let guest = Guest::new(&rounds, &[]);
        let taken = guest.take(Form::Bytes, &[], &[&[extent(0, PAGES)]]).taken();
        assert!(is_as_of_now(&guest, &taken, Form::Bytes));
        assert_eq!(guest.asked.get(), asked);
    }
}

#[test]
fn a_guest_that_cannot_be_followed_is_copied_or_not_live() {
    let all: Vec<u64> = (0..PAGES).collect();
    let tree = Form::PageDigests(ALGORITHM);
    let found = [extent(0, PAGES)];
    let most = tree.most_late(PAGES + SPARE);

    let guest = Guest::new(&[&all[..]; ROUNDS], &all);
    let outcome = guest.take(tree, &[], &[&found]);
    // It is known without a pause.
    assert_eq!(outcome.pauses, 0);
    assert_eq!(outcome.not_live(), NotLive::Outrun(most));

    let guest = Guest::new(&[], &all);
    let outcome = guest.take(tree, &[], &[&found]);
    assert_eq!(outcome.pauses, 1);
    assert_eq!(outcome.not_live(), NotLive::Outrun(most));

    let guest = Guest::new(&[&all[..]; ROUNDS], &all);
    let taken = guest.take(Form::Bytes, &[], &[&found]).taken();
    assert!(is_as_of_now(&guest, &taken, Form::Bytes));
    assert_eq!(taken.how.dirtied_pages, PAGES);
}

#[test]
fn what_comes_to_it_while_the_guest_stands_still_is_in_it() {
    let before = [extent(10, 100), extent(300, 10)];
    // Some of it is gone, some new, some of the new twice.
    let after = [
        extent(290, 15),
        extent(20, 10),
        extent(292, 3),
        extent(500, 1),
        extent(20, 1),
    ];
    for form in FORMS {
        let guest = Guest::new(&[&[21]], &[22, 109, 400]);
        let taken = guest.take(form, &[], &[&before, &after]).taken();
        assert!(is_as_of_now(&guest, &taken, form), "{form:?}");
        // Two that were written and are tracked, ten from 290 on, and the one at 500.
        assert_eq!(taken.how.dirtied_pages, 13);
    }
}

#[test]
fn what_has_changed_too_much_is_looked_at_again() {
    let (before, after) = ([extent(0, 100)], [extent(0, 101 + SPARE)]);
    for form in FORMS {
        let guest = Guest::new(&[], &[5]);
        let found: [&[Extent]; 4] = [&before, &after, &before, &before];
        let outcome = guest.take(form, &[], &found);
        assert_eq!(outcome.pauses, 2);
        assert!(is_as_of_now(&guest, &outcome.taken(), form));

        let guest = Guest::new(&[], &[5]);
        let found: [&[Extent]; 6] = [&before, &after, &before, &after, &before, &after];
        let outcome = guest.take(form, &[], &found);
        assert_eq!(outcome.pauses, ATTEMPTS);
        assert_eq!(outcome.not_live(), NotLive::Changed);
    }
}

#[test]
fn a_lease_that_ran_out_voids_it() {
    let found = [extent(0, 100)];
    let guest = Guest::new(&[], &[5]);
    let outcome = guest.take(Form::Bytes, &[false, true], &[&found]);
    assert_eq!(outcome.pauses, 2);
    assert!(is_as_of_now(&guest, &outcome.taken(), Form::Bytes));
    let outcome = guest.take(Form::Bytes, &[false; ATTEMPTS], &[&found]);
    assert!(matches!(
        outcome.taken,
        Err(Failure::Refused(Refusal::PauseFailed))
    ));
}

#[test]
fn tracking_that_fails_ends_it() {
    for moment in [Moment::Arming, Moment::Round, Moment::Cut] {
        let mut guest = Guest::new(&[], &[]);
        guest.fails = Some(moment);
        let outcome = guest.take(Form::Bytes, &[], &[&[extent(0, 9)]]);
        assert_eq!(outcome.pauses, usize::from(moment == Moment::Cut));
        assert_eq!(outcome.not_live(), NotLive::Track(TrackError::NoScan));
    }
}

#[test]
fn what_is_scattered_is_not_tracked() {
    let scattered: Vec<_> = (0..=MAX_PIECES as u64)
        .map(|index| extent(index % PAGES, 1))
        .collect();
    let guest = Guest::new(&[], &[]);
    let outcome = guest.take(Form::Bytes, &[], &[&scattered]);
    assert_eq!(outcome.not_live(), NotLive::Scattered);
}

#[test]
fn what_cannot_be_live_is_by_pause_copy_and_says_so() {
    for (fails, mode) in [
        (None, SnapshotMode::Live),
        (Some(Moment::Cut), SnapshotMode::PauseCopy),
    ] {
        let mut guest = Guest::new(&[], &[3]);
        guest.fails = fails;
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut link = Link::new(ours).unwrap();
        let taken = thread::scope(|scope| {
            scope.spawn(|| supervise(theirs, &[]));
            let mut tracked = Tracked::new(Some(&guest));
            let found = || Ok(Found(vec![extent(0, 9)]));
            let request = request(DigestKind::Tree);
            let taken = snapshot::take(&mut link, &guest.ram, &mut tracked, &request, found);
            drop(link);
            taken.unwrap().unwrap()
        });
        assert_eq!(taken.how.mode, mode);
        let form = Form::PageDigests(ALGORITHM);
        assert!(is_as_of_now(&guest, &taken, form));
    }
}

fn pages() -> impl Strategy<Value = Vec<u64>> {
    proptest::collection::vec(0_u64..200, 0..40)
}

fn extents() -> impl Strategy<Value = Vec<Extent>> {
    let one = (0_u64..180, 1_u64..20).prop_map(|(first, pages)| extent(first, pages));
    proptest::collection::vec(one, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_written_and_found_it_is_as_of_the_pause(
        rounds in proptest::collection::vec(pages(), 0..4),
        at_cut in pages(),
        before in extents(),
        after in extents(),
        tree in any::<bool>(),
    ) {
        let form = FORMS[usize::from(tree)];
        let rounds: Vec<&[u64]> = rounds.iter().map(Vec::as_slice).collect();
        let guest = Guest::new(&rounds, &at_cut);
        let taken = guest.take(form, &[], &[&before, &after]).taken();
        prop_assert!(is_as_of_now(&guest, &taken, form));
    }
}
