use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::thread;

use proptest::prelude::*;

use super::*;

const PAGES: u64 = 200;
const RAM: u64 = PAGES * PAGE_SIZE;

fn log() -> Log {
    Log::map(Log::create(RAM).unwrap(), RAM).unwrap()
}

fn range(first: u64, pages: u64) -> FileRange {
    FileRange::new(first * PAGE_SIZE, pages * PAGE_SIZE).unwrap()
}

fn taken(log: &Log, of: FileRange) -> Vec<FileRange> {
    let mut all = Vec::new();
    log.take(of, |range| all.push(range));
    all
}

#[test]
fn every_page_that_was_touched_is_noted_once() {
    let log = log();
    log.note(5 * 4096 + 4095, 2);
    log.note(6 * 4096, 4096);
    log.note(63 * 4096 + 1, 2 * 4096);
    log.note(0, 0);
    log.note(u64::MAX, 0);
    let expected = [range(5, 2), range(63, 3)];
    assert_eq!(taken(&log, range(0, PAGES)), expected);
    assert_eq!(taken(&log, range(0, PAGES)), []);
}

#[test]
fn only_notes_of_the_range_are_taken() {
    let log = log();
    log.all();
    assert_eq!(taken(&log, range(60, 70)), [range(60, 70)]);
    let rest = [range(0, 60), range(130, PAGES - 130)];
    assert_eq!(taken(&log, range(0, 4 * PAGES)), rest);
    assert_eq!(taken(&log, range(PAGES, 4)), []);
}

/// Known attack: a guest gives an address that its device's back end gets wrong.
#[test]
fn what_is_not_ram_notes_everything() {
    for (offset, size) in [
        (RAM, 1),
        (RAM - 1, 2),
        (0, RAM + 1),
        (u64::MAX, 1),
        (u64::MAX, u64::MAX),
        (1, u64::MAX),
    ] {
        let log = log();
        log.note(offset, size);
        assert_eq!(taken(&log, range(0, PAGES)), [range(0, PAGES)]);
    }
}

#[test]
fn what_a_peer_puts_behind_the_last_page_is_not_told() {
    let file = Log::create(RAM).unwrap();
    let log = Log::map(&file, RAM).unwrap();
    rustix::io::pwrite(&file, &[0xff; 32], 0).unwrap();
    assert_eq!(taken(&log, range(0, 256)), [range(0, PAGES)]);
}

#[test]
fn notes_are_little_endian_bits() {
    let file = Log::create(RAM).unwrap();
    Log::map(&file, RAM).unwrap().note(65 * 4096, 1);
    let mut bytes = [0; 32];
    rustix::io::pread(&file, &mut bytes, 0).unwrap();
    let mut expected = [0; 32];
    expected[8] = 2;
    assert_eq!(bytes, expected);
}

#[test]
fn the_size_is_that_of_the_ram_and_final() {
    for size in [0, 4095, 4097, (1 << 40) + 4096, u64::MAX] {
        assert_eq!(Log::create(size).unwrap_err(), LogError::NotRam(size));
    }
    let file = Log::create(RAM).unwrap();
    assert!(ftruncate(&file, 0).is_err() && ftruncate(&file, 64).is_err());
    let other = Log::map(&file, RAM + 64 * 4096).unwrap_err();
    let (expected, found) = (40, 32);
    assert_eq!(other, LogError::OtherSize { expected, found });
}

#[test]
fn a_file_that_can_shrink_is_refused() {
    let loose = memfd_create("loose", MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&loose, 32).unwrap();
    assert_eq!(Log::map(&loose, RAM).unwrap_err(), LogError::NotSealed);
    let no_memfd = std::fs::File::open("/dev/null").unwrap();
    assert_eq!(Log::map(no_memfd, RAM).unwrap_err(), LogError::NotSealed);
}

#[derive(Clone, Debug)]
enum Step {
    Note(u64, u64),
    Take(FileRange),
    All,
}

fn step() -> impl Strategy<Value = Step> {
    let pages = (0..PAGES + 70, 1..PAGES + 70);
    prop_oneof![
        8 => (0..RAM + 9000, 0..9000_u64).prop_map(|(offset, size)| Step::Note(offset, size)),
        4 => pages.prop_map(|(first, pages)| Step::Take(range(first, pages))),
        1 => Just(Step::All),
    ]
}

proptest! {
    #[test]
    fn it_is_a_set_of_pages(steps in proptest::collection::vec(step(), 0..60)) {
        let (log, mut set) = (log(), BTreeSet::new());
        for step in steps {
            match step {
                Step::All => set.extend(0..PAGES),
                Step::Note(_, 0) => log.note(0, 0),
                Step::Note(offset, size) => {
                    log.note(offset, size);
                    let last = (offset + size - 1) / PAGE_SIZE;
                    let all = if last < PAGES { offset / PAGE_SIZE..last + 1 } else { 0..PAGES };
                    set.extend(all);
                    continue;
                }
                Step::Take(of) => {
                    let told = taken(&log, of);
                    // Maximal runs: none adjoins the next.
                    prop_assert!(told.windows(2).all(|pair| pair[0].end() < pair[1].offset()));
                    let pages: BTreeSet<u64> = told
                        .iter()
                        .flat_map(|run| run.offset() / PAGE_SIZE..run.end() / PAGE_SIZE)
                        .collect();
                    let of = of.offset() / PAGE_SIZE..of.end() / PAGE_SIZE;
                    let expected = set.iter().copied().filter(|page| of.contains(page)).collect();
                    prop_assert_eq!(pages, expected);
                    set.retain(|page| !of.contains(page));
                    continue;
                }
            }
            if set.len() == usize::try_from(PAGES).unwrap() {
                log.all();
            }
        }
        let rest: u64 = taken(&log, range(0, PAGES)).iter().map(|run| run.pages()).sum();
        prop_assert_eq!(rest, set.len() as u64);
    }
}

/// Each write of one thread is in a copy of the other's, or its note is there for the next take. Without the fence of a note it fails
/// within milliseconds on x86; without the one of a take it does not there, since an instruction that clears a bit is one.
#[test]
fn no_write_is_lost_between_a_note_and_a_take() {
    const WRITES: u64 = 3_000_000;
    // In one word.
    const FIRST: u64 = 70;
    const PLACES: u64 = 4;
    let log = log();
    let (pages, done) = ([const { AtomicU64::new(0) }; 4], AtomicU64::new(0));
    let page = |page: u64| &pages[usize::try_from(page - FIRST).unwrap()];
    thread::scope(|scope| {
        scope.spawn(|| {
            for write in 1..=WRITES {
                let at = FIRST + write % PLACES;
                page(at).store(write, Ordering::Relaxed);
                log.note(at * PAGE_SIZE, 8);
                done.store(write, Ordering::Release);
            }
        });
        let (mut copies, mut noted) = ([0; 4], 0);
        while noted < WRITES {
            noted = done.load(Ordering::Acquire);
            log.take(range(FIRST, PLACES), |range| {
                for at in range.offset() / PAGE_SIZE..range.end() / PAGE_SIZE {
                    let copy = &mut copies[usize::try_from(at - FIRST).unwrap()];
                    *copy = page(at).load(Ordering::Relaxed);
                }
            });
            // Each of the last ones is of another page.
            for write in noted.saturating_sub(PLACES - 1)..=noted {
                let at = FIRST + write % PLACES;
                let copy = copies[usize::try_from(at - FIRST).unwrap()];
                assert!(
                    copy >= write,
                    "write {write} is lost, its page was copied as of {copy}"
                );
            }
        }
    });
}
