//! The library, preloaded into a process whose writes are then tracked from this one, as a measurer tracks a QEMU.
//!
//! Needs `/dev/userfaultfd`, Linux 6.7 and root; where one is missing, the tests fail and say which.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod child;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use bartizan_write_tracking::{
    Device, FileId, FileRange, Handover, Mappings, PAGE_SIZE, Pagemap, Receiver, Tracker, Userfault,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use child::{Child, Preloaded};

const PAGES: u64 = 64;

const BY_VARIABLE: Preloaded = Preloaded::ByVariable;

fn device() -> Device {
    Device::open().expect(
        "/dev/userfaultfd can be opened: it takes a kernel with CONFIG_USERFAULTFD, and root",
    )
}

fn ram() -> File {
    let file = memfd_create("ram", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, PAGES * PAGE_SIZE).unwrap();
    file.into()
}

/// What arrives, within a time that no machine needs.
fn received(from: &Receiver) -> Option<Userfault> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match from.receive() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            outcome => {
                return outcome.unwrap().map(|sent| {
                    Userfault::enable(sent).expect("writes can be tracked: it takes Linux 6.7")
                });
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).unwrap();
        let ready = poll(&mut [PollFd::new(from, PollFlags::IN)], Some(&left)).unwrap();
        assert_eq!(ready, 1, "nothing arrives");
    }
}

#[test]
fn writes_of_another_process_are_tracked() {
    let (device, ram) = (device(), ram());
    let handover = Handover::new(&device).unwrap();
    let mut child = Child::start(
        &ram,
        handover.descriptors(),
        &[handover.environment()],
        BY_VARIABLE,
    );
    let userfault = received(&handover.started()).expect("it sends its userfaultfd");
    child.expect("ready");

    let pagemap = File::open(child.proc("pagemap")).unwrap();
    let maps = File::open(child.proc("maps")).unwrap();
    let mappings = Mappings::read(maps, FileId::of(&ram).unwrap()).unwrap();
    let pagemap = Pagemap::new(pagemap.into()).unwrap();
    let mut tracker = Tracker::new(userfault, pagemap, mappings, Vec::new());
    let all = FileRange::new(0, PAGES * PAGE_SIZE).unwrap();
    let mut armed = tracker.arm(&[all]).unwrap();
    armed.written(|range| panic!("{range}")).unwrap();
    child.ask("write 5");
    child.expect("done");
    child.ask("read 9");
    child.expect("done");
    let mut told = Vec::new();
    armed
        .written(|range| told.push(range.offset() / PAGE_SIZE))
        .unwrap();
    assert_eq!(told, [5, 9]);
    // The child goes on once nobody tracks it any more, whatever is still protected.
    std::mem::forget(armed);
    drop(tracker);
    child.ask("write 6");
    child.expect("done");
    child.end();
}

#[test]
fn nothing_of_it_is_left() {
    for preloaded in [Preloaded::ByVariable, Preloaded::ByArgument] {
        let (device, ram) = (device(), ram());
        let handover = Handover::new(&device).unwrap();
        let (descriptors, variable) = (handover.descriptors(), handover.environment());
        let mut child = Child::start(&ram, descriptors, &[variable], preloaded);
        let sent = received(&handover.started());
        assert!(sent.is_some(), "{preloaded:?}");
        child.expect("ready");
        child.ask("descriptors");
        let descriptors = child.answer();
        assert!(descriptors.contains("/memfd:ram"), "{descriptors}");
        assert!(!descriptors.contains("userfaultfd"), "{descriptors}");
        let sockets: BTreeSet<&str> = descriptors
            .split(' ')
            .filter(|link| link.starts_with("socket:"))
            .collect();
        assert_eq!(
            sockets.len(),
            1,
            "its link to this process alone: {descriptors}"
        );
        child.ask("environment");
        child.expect("");
        child.end();
    }
}

#[test]
fn what_fails_is_not_the_programs_affair() {
    let (device, ram) = (device(), ram());
    let other = File::open("/dev/null").unwrap();
    for variable in [
        None,
        Some("no numbers"),
        Some("0,1"),
        Some("900,901"),
        Some("3"),
    ] {
        let variable = variable.map(|value| ("BARTIZAN_TRACKED", value.to_owned()));
        let mut child = Child::start(&ram, [], variable.as_slice(), BY_VARIABLE);
        child.expect("ready");
        child.end();
    }
    // One that is no userfaultfd's.
    let handover = Handover::new(&device).unwrap();
    let [_, socket] = handover.descriptors();
    let (name, value) = handover.environment();
    let (_, number) = value.split_once(',').unwrap();
    let value = format!("{},{number}", other.as_raw_fd());
    let descriptors = [other.as_fd(), socket];
    let mut child = Child::start(&ram, descriptors, &[(name, value)], BY_VARIABLE);
    assert!(received(&handover.started()).is_none());
    child.expect("ready");
    child.end();
}
