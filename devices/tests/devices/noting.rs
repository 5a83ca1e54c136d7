//! What devices write of a guest's RAM, in the log that its supervisor attached.

use std::collections::BTreeSet;

use bartizan_local::attachment::{Attach, Attached, DeviceKind};
use bartizan_write_tracking::Log;
use rustix::fs::SealFlags;
use vm_memory::{Bytes, GuestAddress};

use crate::daemon::{Daemon, attach_as, ticket};
use crate::driver::{Guest, RAM, RST, RW, ram_file, ring};
use crate::service;

const PAGE: usize = 4096;

#[test]
fn what_a_device_wrote_is_noted_when_its_rings_are_back() {
    const SIZE: usize = 10_000;
    let mut daemon = Daemon::start();
    let services = [(1, service::echo(daemon.directory.path()))];
    let mut guest = Guest::attached(42, &daemon, &services);
    // The same log goes on where devices were started anew.
    for is_last in [false, true] {
        guest.connect(1);
        guest.stop_and_continue();
        guest.take_notes();
        let before = ram(&guest);
        guest.send_data(1, &[7; SIZE]);
        let mut left = SIZE;
        while left > 0 {
            left -= guest.expect(RW).1.len();
        }
        guest.stop_and_continue();
        let (noted, after) = (guest.take_notes(), ram(&guest));
        let pairs = before.chunks(PAGE).zip(after.chunks(PAGE));
        let changed = (0..).zip(pairs).filter(|(_, (was, is))| was != is);
        let changed: BTreeSet<u64> = changed.map(|(page, _)| page).collect();
        let theirs: BTreeSet<u64> = changed.difference(&own(&guest)).copied().collect();
        assert!(theirs.is_subset(&noted), "{theirs:?} of {noted:?}");
        // Two used rings and what came.
        assert!(theirs.len() >= 2 + SIZE / PAGE, "{theirs:?}");
        assert!(noted.is_disjoint(&own(&guest)), "{noted:?}");
        if !is_last {
            daemon.replace();
            guest.attach(&daemon, &services);
            guest.expect(RST);
        }
    }
}

fn ram(guest: &Guest) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(RAM).unwrap()];
    guest.memory.read_slice(&mut bytes, GuestAddress(0)).unwrap();
    bytes
}

/// The pages that the driver alone writes.
fn own(guest: &Guest) -> BTreeSet<u64> {
    let rings = [&guest.rx, &guest.tx].map(|ring| [ring.descriptors(), ring.available()]);
    let buffers = guest.tx.buffer(0)..guest.tx.buffer(ring::SIZE);
    let all = rings.into_iter().flatten().chain(buffers.step_by(PAGE));
    all.map(|at| at / PAGE as u64).collect()
}

#[test]
fn a_log_of_other_ram_ends_its_device_and_no_other() {
    let daemon = Daemon::start();
    let services = [(1, service::echo(daemon.directory.path()))];
    let mut good = Guest::attached(7, &daemon, &services);
    let mut bad = Guest::new(8);
    bad.use_log(Log::create(2 * RAM).unwrap());
    assert!(bad.try_attach(&daemon, &services).is_err());
    good.connect(1);
}

#[test]
fn logs_that_are_none_are_refused_with_a_reason() {
    let daemon = Daemon::start();
    daemon.admit(3, &[]);
    let refused = |device, descriptors: &[&dyn std::os::fd::AsFd]| {
        let wish = Attach {
            ticket: ticket(3),
            device,
            logged: true,
        };
        match attach_as(&daemon.control(), &wish, descriptors) {
            Attached::Refused(why) => why,
            other => panic!("{other:?}"),
        }
    };
    let [journal, log] = [4096, 128].map(|size| ram_file(size, SealFlags::SHRINK | SealFlags::GROW));
    assert!(refused(DeviceKind::Vsock, &[]).contains("0 descriptors"));
    let three = refused(DeviceKind::Vsock, &[&journal, &journal, &log]);
    assert!(three.contains("3 descriptors"), "{three}");
    // A network device has no journal.
    let two = refused(DeviceKind::Network, &[&journal, &log]);
    assert!(two.contains("2 descriptors"), "{two}");
    let file = tempfile::tempfile().unwrap();
    assert!(refused(DeviceKind::Vsock, &[&journal, &file]).contains("the log is no memfd"));
    assert!(refused(DeviceKind::Vsock, &[&file, &log]).contains("the descriptor is no memfd"));
}
