//! A process in QEMU's place: this test program, started anew as QEMU is, which maps a file.
#![expect(unsafe_code, reason = "the child maps memory, by a number")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap};

use super::*;
use crate::qemu::process::{Confined, Process};

/// Names the child's file to it, and its link.
const RAM: &str = "BARTIZAN_TEST_RAM";
const PAGES: u64 = 600;
/// A guest's user and its group.
const USER: User = User {
    uid: 100_005,
    gid: 989,
};

fn tracking(library: Option<PathBuf>) -> Tracking {
    let device = Device::open().expect(
        "/dev/userfaultfd can be opened: it takes a kernel with CONFIG_USERFAULTFD, and root",
    );
    Tracking { device, library }
}

/// Where cargo puts what it builds for a test.
fn library() -> PathBuf {
    let library = std::env::current_exe().unwrap();
    let library = library.with_file_name(bartizan_write_tracking::LIBRARY);
    assert!(library.exists(), "{} is not built", library.display());
    library
}

fn ram() -> File {
    let file = memfd_create("ram", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, PAGES * 4096).unwrap();
    file.into()
}

/// Runs with everything that QEMU is started with, and maps its file; what tracks it.
fn started(
    tracking: &Tracking,
    user: Option<User>,
) -> (Process, UnixStream, Result<Tracked, NotTracked>) {
    let (ram, handover) = (ram(), tracking.handover().unwrap());
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let program = std::env::current_exe().unwrap();
    let mut confined = Confined::new(&program)
        .args(["--exact", "--ignored", "--test-threads=1"])
        .args(["supervisor::tracking::tests::child_process"])
        .envs([(RAM, format!("{},{}", ram.as_raw_fd(), theirs.as_raw_fd()))])
        .envs([handover.environment()])
        .envs(tracking.library().map(|library| ("LD_PRELOAD", library)))
        .user(user)
        .keep(ram.as_fd())
        .keep(theirs.as_fd());
    for descriptor in handover.descriptors() {
        confined = confined.keep(descriptor);
    }
    let process = confined.spawn().unwrap();
    drop(theirs);
    // It has mapped the file.
    ours.read_exact(&mut [0]).unwrap();
    let receiver = handover.started();
    let log = WriteLog::create(PAGES * 4096).unwrap();
    let tracked = Tracked::new(&receiver, process.pid(), user, &ram, log);
    (process, ours, tracked)
}

#[test]
#[ignore = "the child process of the tests"]
fn child_process() {
    // Also run by whoever runs all ignored tests: there is nothing to do then.
    let Ok(numbers) = std::env::var(RAM) else {
        return;
    };
    let (ram, link) = numbers.split_once(',').unwrap();
    // SAFETY: both were passed for this, and are nobody else's.
    let (ram, mut link) = unsafe {
        (
            File::from_raw_fd(ram.parse().unwrap()),
            UnixStream::from_raw_fd(link.parse().unwrap()),
        )
    };
    let size = usize::try_from(PAGES * 4096).unwrap();
    let (none, prot) = (std::ptr::null_mut(), ProtFlags::READ | ProtFlags::WRITE);
    // SAFETY: a null hint lets the kernel choose free addresses: no memory of ours is replaced.
    let at = unsafe { mmap(none, size, prot, MapFlags::SHARED, &ram, 0) }.unwrap();
    link.write_all(&[0]).unwrap();
    let mut page = [0];
    while link.read_exact(&mut page).is_ok() {
        // SAFETY: a byte of the mapping, which nobody has a reference to.
        unsafe {
            at.cast::<u8>()
                .add(usize::from(page[0]) * 4096)
                .write_volatile(1)
        };
        link.write_all(&[0]).unwrap();
    }
}

#[tokio::test]
async fn a_measurer_can_track_a_process_of_another_user() {
    let tracking = tracking(Some(library()));
    for user in [None, Some(USER)] {
        let (_process, mut link, tracked) = started(&tracking, user);
        let mut tracked = tracked.unwrap();
        // Before it is known that devices note what they write.
        assert!(tracked.handed().is_none());
        tracked.log.kept = true;

        let handed = tracked.handed().unwrap();
        let [mapping] = handed.mappings.as_slice() else {
            panic!("{:?}", handed.mappings)
        };
        assert_eq!((mapping.size, mapping.file_offset), (PAGES * 4096, 0));
        let userfault = Userfault::from(handed.userfault.try_clone_to_owned().unwrap());
        let page_map = handed.page_map.try_clone_to_owned().unwrap();
        let mut tracker = bartizan_write_tracking::Tracker::new(
            userfault,
            bartizan_write_tracking::Pagemap::new(page_map).unwrap(),
            tracked.mappings.clone(),
            vec![Log::map(handed.log, PAGES * 4096).unwrap()],
        );
        let all = bartizan_write_tracking::FileRange::new(0, PAGES * 4096).unwrap();
        let mut armed = tracker.arm(&[all]).unwrap();
        for page in [3, 200] {
            link.write_all(&[page]).unwrap();
            link.read_exact(&mut [0]).unwrap();
        }
        let mut told = Vec::new();
        armed
            .written(|range| told.push(range.offset() / 4096))
            .unwrap();
        assert_eq!(told, [3, 200]);

        // The measurer is gone, and has tidied nothing up.
        std::mem::forget(armed);
        tracked.release();
        let unregistered = tracker.arm(&[all]).unwrap();
        drop(unregistered);
    }
}

#[tokio::test]
async fn nothing_of_it_is_left_in_the_process() {
    let tracking = tracking(Some(library()));
    let (process, _link, tracked) = started(&tracking, None);
    tracked.unwrap();
    let folder = format!("/proc/{}/fd", process.pid());
    for entry in std::fs::read_dir(folder).unwrap() {
        let link = std::fs::read_link(entry.unwrap().path()).unwrap();
        let link = link.display().to_string();
        assert!(!link.contains("userfaultfd"), "{link}");
    }
}

/// It would have the device, and with it win races in the kernel.
#[tokio::test]
async fn a_process_that_did_not_take_it_is_told_from_one_that_cannot_be_tracked() {
    let (_process, _link, tracked) = started(&tracking(None), None);
    let refused = tracked.unwrap_err();
    assert!(matches!(refused, NotTracked::NotTaken(_)), "{refused}");
}
