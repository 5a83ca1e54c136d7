//! The proof by trial: a copy that was made in rounds while others wrote is, after the cut, what there is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bartizan_write_tracking::{Armed, Log, PAGE_SIZE};
use rustix::fs::{MemfdFlags, SeekFrom, memfd_create, seek};

use crate::memory::Memory;

/// Numbers that are spread and the same in each run (Marsaglia's xorshift).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Writes numbers that go up to places of random pages until it is stopped; sometimes a few pages only, so that the same page is
/// written again right after a round told it.
pub(crate) fn write_until(stop: &AtomicBool, memory: &Memory, seed: u64) {
    let mut numbers = Numbers(seed);
    let mut counter = 0;
    while !stop.load(Ordering::Relaxed) {
        let first = numbers.below(memory.pages());
        let pages = 1 + numbers.below(memory.pages() - first).min(numbers.below(16));
        for _ in 0..64 {
            counter += 1;
            let place = numbers.below(512) * 8;
            memory.write((first + numbers.below(pages)) * PAGE_SIZE + place, counter);
        }
    }
}

/// Rounds while others write, then, once `stop` has been obeyed, the cut.
pub(crate) fn mirrored(
    memory: &Memory,
    armed: &mut Armed<'_>,
    rounds: u64,
    stop: impl FnOnce(),
) -> Vec<u8> {
    let mut mirror = memory.contents();
    for _ in 0..rounds {
        armed
            .written(|range| memory.copy(range, &mut mirror))
            .unwrap();
    }
    stop();
    armed.cut(|range| memory.copy(range, &mut mirror)).unwrap();
    mirror
}

pub(crate) fn assert_same(memory: &Memory, mirror: &[u8], trial: u64) {
    let now = memory.contents();
    let lost: Vec<usize> = (0..now.len() / 4096)
        .filter(|page| now[page * 4096..][..4096] != mirror[page * 4096..][..4096])
        .collect();
    assert!(
        lost.is_empty(),
        "trial {trial}: pages {lost:?} are not as they were copied"
    );
}

/// The processor, the kernel, and a device back end by a mapping of its own.
#[test]
fn no_write_is_lost() {
    const TRIALS: u64 = 200;
    const PAGES: u64 = 700;
    for trial in 1..=TRIALS {
        let memory = Memory::new(PAGES);
        let size = memory.all().size();
        if trial % 2 == 0 {
            memory.populate();
        }
        let log = Log::create(size).unwrap();
        let mut tracker = memory.tracker(vec![Log::map(&log, size).unwrap()]);
        let noted = Log::map(log, size).unwrap();
        // Of the same file, made after its mappings were looked up: that tracks nothing.
        let others = Memory::map(memory.file.try_clone().unwrap(), PAGES);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let writers = [
                scope.spawn(|| write_until(&stop, &memory, trial)),
                scope.spawn(|| read_until(&stop, &memory, trial + 1000)),
                scope.spawn(|| note_until(&stop, &others, &noted, trial + 2000)),
            ];
            let mut armed = tracker.arm(&[memory.all()]).unwrap();
            let mirror = mirrored(&memory, &mut armed, trial % 8, || {
                stop.store(true, Ordering::Relaxed);
                for writer in writers {
                    writer.join().unwrap();
                }
            });
            assert_same(&memory, &mirror, trial);
        });
    }
}

/// Has the kernel write by read(2).
fn read_until(stop: &AtomicBool, memory: &Memory, seed: u64) {
    let mut numbers = Numbers(seed);
    let disk = memfd_create("disk", MemfdFlags::CLOEXEC).unwrap();
    let contents: Vec<u8> = (0..1 << 17)
        .flat_map(|_| numbers.below(u64::MAX).to_le_bytes())
        .collect();
    assert_eq!(
        rustix::io::pwrite(&disk, &contents, 0).unwrap(),
        contents.len()
    );
    while !stop.load(Ordering::Relaxed) {
        let size = 1 + numbers.below(3 * PAGE_SIZE);
        let offset = numbers.below(memory.all().size() - size);
        seek(&disk, SeekFrom::Start(numbers.below(1 << 19))).unwrap();
        memory.read_from(&disk, offset, usize::try_from(size).unwrap());
    }
}

/// Writes by another mapping, and notes it.
fn note_until(stop: &AtomicBool, memory: &Memory, log: &Log, seed: u64) {
    let mut numbers = Numbers(seed);
    let mut counter = 0;
    while !stop.load(Ordering::Relaxed) {
        counter += 1;
        // A few pages often, as rings are.
        let limit = if counter % 4 == 0 { memory.pages() } else { 3 };
        let offset = numbers.below(limit) * PAGE_SIZE + numbers.below(512) * 8;
        memory.write(offset, counter);
        log.note(offset, 8);
    }
}
