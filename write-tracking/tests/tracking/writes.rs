//! Which writes are seen, and that nothing else is.

use std::io::Write;

use bartizan_write_tracking::{AddressRange, Log, PAGE_SIZE};

use crate::memory::{Memory, cut, pagemap, range, userfault, written};

#[test]
fn exactly_what_was_written_is_told_once() {
    let memory = Memory::new(64);
    memory.populate();
    let mut tracker = memory.tracker(Vec::new());
    let mut armed = tracker.arm(&[memory.all()]).unwrap();
    assert_eq!(written(&mut armed), []);
    for page in [3, 7, 8, 63] {
        memory.write(page * PAGE_SIZE, 1);
    }
    assert_eq!(written(&mut armed), [3, 7, 8, 63]);
    assert_eq!(written(&mut armed), []);
    memory.write(7 * PAGE_SIZE, 2);
    assert_eq!(cut(&mut armed), [7]);
}

#[test]
fn pages_that_were_not_there_are_told_when_they_are_written() {
    let memory = Memory::new(2048);
    let mut tracker = memory.tracker(Vec::new());
    let mut armed = tracker.arm(&[memory.all()]).unwrap();
    assert_eq!(written(&mut armed), []);
    memory.write(1500 * PAGE_SIZE, 1);
    assert_eq!(written(&mut armed), [1500]);
    // Also where the page is in the file meanwhile, and not yet in the mapping.
    rustix::io::pwrite(&memory.file, b"by another way", 9 * PAGE_SIZE).unwrap();
    assert_eq!(written(&mut armed), []);
    memory.write(9 * PAGE_SIZE + 64, 1);
    assert_eq!(cut(&mut armed), [9]);
}

#[test]
fn what_is_read_is_not_written() {
    let memory = Memory::new(16);
    let mut tracker = memory.tracker(Vec::new());
    let mut armed = tracker.arm(&[memory.all()]).unwrap();
    let (_from, to) = rustix::pipe::pipe().unwrap();
    memory.write_to(&to, 0, 2 * 4096);
    assert_eq!(written(&mut armed), []);
    memory.write(PAGE_SIZE, 1);
    assert_eq!(cut(&mut armed), [1]);
}

/// So does a QEMU with its guest's disk.
#[test]
fn what_the_kernel_writes_is_told() {
    let memory = Memory::new(16);
    memory.populate();
    let mut tracker = memory.tracker(Vec::new());
    let mut armed = tracker.arm(&[memory.all()]).unwrap();
    let (from, to) = rustix::pipe::pipe().unwrap();
    std::fs::File::from(to).write_all(&[5; 8192]).unwrap();
    memory.read_from(&from, 4096 + 100, 6000);
    assert_eq!(written(&mut armed), [1, 2]);
    memory.read_from(&from, 9 * 4096, 1);
    assert_eq!(cut(&mut armed), [9]);
}

/// More than the kernel tells at once.
#[test]
fn many_ranges_are_all_told() {
    for pages in [2 * 1024, 4 * 1024, 9 * 1024] {
        let memory = Memory::new(pages);
        let mut tracker = memory.tracker(Vec::new());
        let mut armed = tracker.arm(&[memory.all()]).unwrap();
        let every_other: Vec<u64> = (0..pages).step_by(2).collect();
        for page in &every_other {
            memory.write(page * PAGE_SIZE, 1);
        }
        assert_eq!(written(&mut armed), every_other);
        assert_eq!(written(&mut armed), []);
    }
}

#[test]
fn a_scan_can_protect_what_it_tells() {
    let memory = Memory::new(4096);
    let all = AddressRange::new(memory.address(), memory.all().size()).unwrap();
    let (userfault, mut pagemap) = (userfault(), pagemap());
    userfault.register(all).unwrap();
    userfault.protect(all).unwrap();
    (0..4096)
        .step_by(2)
        .for_each(|page| memory.write(page * PAGE_SIZE, 1));
    for expected in [2048, 0] {
        let mut told = 0;
        let count = |range: AddressRange| {
            told += range.pages();
            Ok(())
        };
        pagemap.scan_and_protect(all, count).unwrap();
        assert_eq!(told, expected);
    }
}

#[test]
fn only_ranges_that_are_armed_are_tracked() {
    let memory = Memory::new(64);
    let mut tracker = memory.tracker(Vec::new());
    let mut armed = tracker
        .arm(&[range(40, 2), range(8, 4), range(10, 6)])
        .unwrap();
    assert_eq!(memory.protected(), [8, 9, 10, 11, 12, 13, 14, 15, 40, 41]);
    memory.populate();
    assert_eq!(written(&mut armed), [8, 9, 10, 11, 12, 13, 14, 15, 40, 41]);
}

/// Else a guest whose pages are scattered would take from its QEMU all mappings that a process may have.
#[test]
fn scattered_pages_are_one_mapping_more_or_none() {
    let memory = Memory::new(512);
    memory.populate();
    let every_other: Vec<_> = (0..512).step_by(2).map(|page| range(page, 1)).collect();
    let mappings = || {
        std::fs::read_to_string("/proc/self/maps")
            .unwrap()
            .lines()
            .count()
    };
    let before = mappings();
    let mut tracker = memory.tracker(Vec::new());
    let mut armed = tracker.arm(&every_other).unwrap();
    // Other tests map memory meanwhile.
    assert!(mappings() < before + 100);
    assert_eq!(memory.protected().len(), 256);
    (0..4).for_each(|page| memory.write(page * PAGE_SIZE, 1));
    assert_eq!(written(&mut armed), [0, 2]);
    assert_eq!(cut(&mut armed), []);
    drop(armed);
    assert_eq!(memory.protected(), []);
}

#[test]
fn other_writers_notes_are_told() {
    let memory = Memory::new(64);
    let size = memory.all().size();
    let files = [0, 1].map(|_| Log::create(size).unwrap());
    let map = |file| Log::map(file, size).unwrap();
    let [one, two] = files.each_ref().map(map);
    let ours = files.each_ref().map(map);
    let mut tracker = memory.tracker(ours.into());
    one.note(5 * PAGE_SIZE, 1);
    let mut armed = tracker.arm(&[range(0, 32)]).unwrap();
    assert_eq!(written(&mut armed), [], "noted before");
    one.note(7 * PAGE_SIZE, 1);
    two.note(9 * PAGE_SIZE, 1);
    two.note(40 * PAGE_SIZE, 1);
    memory.write(11 * PAGE_SIZE, 1);
    assert_eq!(written(&mut armed), [7, 9, 11]);
    assert_eq!(cut(&mut armed), []);
}

#[test]
fn nothing_stays_protected() {
    let memory = Memory::new(64);
    (0..32).for_each(|page| memory.write(page * PAGE_SIZE, 1));
    let mut tracker = memory.tracker(Vec::new());
    let mut armed = tracker.arm(&[memory.all()]).unwrap();
    assert_eq!(memory.protected().len(), 64);
    memory.write(0, 2);
    memory.write(60 * PAGE_SIZE, 2);
    assert_eq!(memory.protected().len(), 62);
    assert_eq!(written(&mut armed), [0, 60]);
    armed.disarm().unwrap();
    assert_eq!(memory.protected(), []);

    drop(tracker.arm(&[memory.all()]).unwrap());
    assert_eq!(memory.protected(), []);

    // Without a word, as when the measurer is killed.
    let armed = tracker.arm(&[memory.all()]).unwrap();
    assert_eq!(memory.protected().len(), 64);
    std::mem::forget(armed);
    drop(tracker);
    assert_eq!(memory.protected(), []);
}
