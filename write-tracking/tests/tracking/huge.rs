//! The same where the kernel maps the file by huge pages, which protection has to split.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bartizan_write_tracking::PAGE_SIZE;
use rustix::fs::{Mode, OFlags, ftruncate, openat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen,
};

use crate::memory::{Memory, written};
use crate::rounds::{assert_same, mirrored, write_until};

/// Pages of a huge one.
const HUGE: u64 = 512;

/// Of huge pages, all of which are there.
fn memory(huge_pages: u64) -> Memory {
    let why = "a file system of huge pages can be made: it takes root, and a kernel with CONFIG_TRANSPARENT_HUGEPAGE";
    let file_system = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).expect(why);
    fsconfig_set_string(&file_system, "huge", "always").expect(why);
    fsconfig_create(&file_system).expect(why);
    // Mounted nowhere.
    let mount = fsmount(
        &file_system,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )
    .expect(why);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let file: File = openat(mount, "ram", flags, Mode::RUSR | Mode::WUSR)
        .unwrap()
        .into();
    ftruncate(&file, huge_pages * HUGE * PAGE_SIZE).unwrap();
    let memory = Memory::map(file, huge_pages * HUGE);
    memory.populate();
    let (is, of) = (memory.smaps("ShmemPmdMapped"), huge_pages * HUGE * 4);
    assert_eq!(
        is, of,
        "kB are mapped by huge pages; is shmem_enabled `deny`, or memory fragmented?"
    );
    memory
}

#[test]
fn a_huge_page_is_told_by_its_pages() {
    let memory = memory(2);
    let mut tracker = memory.tracker(Vec::new());
    let mut armed = tracker.arm(&[memory.all()]).unwrap();
    assert_eq!(written(&mut armed), []);
    memory.write(700 * PAGE_SIZE, 1);
    assert_eq!(written(&mut armed), [700]);
    // Whatever wants it huge again does not get it.
    assert!(!memory.collapse());
    memory.write(3 * PAGE_SIZE, 1);
    assert_eq!(written(&mut armed), [3]);
    armed.disarm().unwrap();
    assert_eq!(memory.protected(), []);
}

#[test]
fn a_part_of_a_huge_page_can_be_armed() {
    let memory = memory(2);
    let mut tracker = memory.tracker(Vec::new());
    let mut armed = tracker.arm(&[crate::memory::range(500, 20)]).unwrap();
    assert_eq!(memory.protected(), (500..520).collect::<Vec<_>>());
    memory.populate();
    assert_eq!(written(&mut armed), (500..520).collect::<Vec<_>>());
}

#[test]
fn no_write_is_lost() {
    const TRIALS: u64 = 60;
    for trial in 1..=TRIALS {
        let memory = memory(2);
        let mut tracker = memory.tracker(Vec::new());
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let writers = [
                scope.spawn(|| write_until(&stop, &memory, trial)),
                scope.spawn(|| collapse_until(&stop, &memory)),
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

/// Wants huge pages all the time, as khugepaged does now and then.
fn collapse_until(stop: &AtomicBool, memory: &Memory) {
    while !stop.load(Ordering::Relaxed) {
        memory.collapse();
    }
}
