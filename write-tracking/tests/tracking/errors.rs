//! What cannot be tracked.

use std::fs::File;

use bartizan_write_tracking::{
    AddressRange, Log, PAGE_SIZE, Pagemap, TrackError, Tracker, Userfault, userfault,
};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::memory::{Memory, pagemap, range, userfault as enabled};

#[test]
fn what_is_not_mapped_or_not_logged_is_not_armed() {
    let memory = Memory::new(8);
    let log = Log::create(4 * PAGE_SIZE).unwrap();
    let log = Log::map(log, 4 * PAGE_SIZE).unwrap();
    let mut tracker = memory.tracker(vec![log]);
    let not_mapped = tracker.arm(&[range(0, 2), range(3, 6)]).unwrap_err();
    assert_eq!(not_mapped, TrackError::NotMapped(range(3, 6)));
    let not_logged = tracker.arm(&[range(0, 8)]).unwrap_err();
    assert_eq!(not_logged, TrackError::NotLogged(range(0, 8)));
    assert_eq!(memory.protected(), []);
    assert!(tracker.arm(&[range(0, 4)]).is_ok());
}

/// Else it would seem that nobody writes there.
#[test]
fn a_scan_of_what_is_not_tracked_fails() {
    let memory = Memory::new(8);
    let all = AddressRange::new(memory.address(), 8 * PAGE_SIZE).unwrap();
    let half = AddressRange::new(memory.address(), 4 * PAGE_SIZE).unwrap();
    let mut pagemap = pagemap();
    let scan = |pagemap: &mut Pagemap| pagemap.scan(all, |_| Ok(()));
    assert_eq!(scan(&mut pagemap), Err(TrackError::NotTracked(all)));
    let userfault = enabled();
    userfault.register(half).unwrap();
    assert_eq!(scan(&mut pagemap), Err(TrackError::NotTracked(all)));
    userfault.register(all).unwrap();
    assert_eq!(scan(&mut pagemap), Ok(()));
}

#[test]
fn after_an_error_nothing_is_told() {
    let memory = Memory::new(8);
    let mut tracker = memory.tracker(Vec::new());
    let mut armed = tracker.arm(&[memory.all()]).unwrap();
    // Its process maps something else there, of which nobody said a word.
    let all = AddressRange::new(memory.address(), 8 * PAGE_SIZE).unwrap();
    memory.map_anew();
    assert_eq!(armed.written(|_| {}), Err(TrackError::NotTracked(all)));
    assert_eq!(armed.written(|_| {}), Err(TrackError::Lost));
    assert_eq!(armed.cut(|_| {}), Err(TrackError::Lost));
}

#[test]
fn a_range_that_another_tracks_is_not_armed() {
    let memory = Memory::new(8);
    let (mut one, mut two) = (memory.tracker(Vec::new()), memory.tracker(Vec::new()));
    let armed = one.arm(&[range(2, 2)]).unwrap();
    let refused = two.arm(&[memory.all()]).unwrap_err();
    assert!(matches!(refused, TrackError::System { .. }), "{refused}");
    assert_eq!(memory.protected(), [2, 3]);
    drop(armed);
    assert!(two.arm(&[memory.all()]).is_ok());
}

#[test]
fn features_are_enabled_once() {
    let userfault = enabled();
    let again = std::os::fd::OwnedFd::from(userfault);
    let again = Userfault::enable(again).unwrap_err();
    assert_eq!(again, TrackError::NoProtection);
}

#[test]
fn other_files_are_refused() {
    let file = || memfd_create("other", MemfdFlags::CLOEXEC).unwrap();
    let no_scan = Pagemap::new(file()).unwrap_err();
    assert_eq!(no_scan, TrackError::NoScan);
    assert!(userfault::make(file()).is_err());
    assert!(Userfault::enable(File::open("/dev/null").unwrap().into()).is_err());
}

#[test]
fn a_tracker_can_be_handed_to_another_thread() {
    fn sendable<T: Send>() {}
    sendable::<Tracker>();
}
