//! Attachments that are refused, and what the process gave up.

use std::time::Instant;

use bartizan_local::attachment::Attached;
use rustix::fs::{SealFlags, fcntl_get_seals};

use crate::daemon::{DEADLINE, Daemon, attach, ticket};
use crate::driver::{Guest, ram_file};
use crate::service;

fn refusal(answer: Attached) -> String {
    match answer {
        Attached::Refused(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn wrong_attachments_are_refused_with_a_reason() {
    let daemon = Daemon::start();
    daemon.admit(3, &[]);
    let refused = |descriptors: &[&dyn std::os::fd::AsFd]| {
        refusal(attach(&daemon.control(), ticket(3), descriptors))
    };
    let journal = ram_file(4096, SealFlags::SHRINK | SealFlags::GROW);
    assert!(refused(&[&journal, &journal]).contains("2 descriptors"));
    // A lock would be held here as long as the device serves.
    let file = tempfile::tempfile().unwrap();
    assert!(refused(&[&file]).contains("no memfd"));
    // Known attack: a file on tmpfs has a seal, against sealing.
    let on_tmpfs = tempfile::tempfile_in("/dev/shm").unwrap();
    assert_eq!(fcntl_get_seals(&on_tmpfs).unwrap(), SealFlags::SEAL);
    assert!(refused(&[&on_tmpfs]).contains("no memfd"));
    for seals in [SealFlags::empty(), SealFlags::SHRINK, SealFlags::GROW] {
        let resizable = ram_file(4096, seals);
        assert!(refused(&[&resizable]).contains("no memfd"));
    }
}

#[test]
fn a_cid_has_one_device_at_a_time_and_is_free_again_afterwards() {
    let daemon = Daemon::start();
    let services = [(1, service::echo(daemon.directory.path()))];
    let mut first = Guest::attached(7, &daemon, &services);
    let second = attach(&daemon.control(), ticket(7), &[]);
    assert!(refusal(second).contains("CID 7 has a device already"));
    first.connect(1);
    first.hang_up();
    let mut third = Guest::attached(7, &daemon, &services);
    third.connect(1);
}

#[test]
fn ram_that_can_shrink_ends_the_device_and_no_other() {
    let daemon = Daemon::start();
    let services = [(1, service::echo(daemon.directory.path()))];
    let mut good = Guest::attached(7, &daemon, &services);
    let mut bad = Guest::new(8);
    bad.use_ram(ram_file(crate::driver::RAM, SealFlags::GROW));
    assert!(bad.try_attach(&daemon, &services).is_err());
    good.connect(1);
}

#[test]
fn running_out_of_descriptors_ends_nothing() {
    /// futex(2) of x86-64.
    const FUTEX: u32 = 202;
    let mut daemon = Daemon::start();
    let services = [(1, service::echo(daemon.directory.path()))];
    let mut before = Guest::attached(7, &daemon, &services);
    daemon.limit_descriptors(3);
    // The kernel had a descriptor ready for the first; the second finds none.
    let _controls = [daemon.control(), daemon.control()];
    let give_up = Instant::now() + DEADLINE;
    while daemon.waits_in() != Some(FUTEX) {
        assert!(daemon.is_alive() && Instant::now() < give_up, "it ended");
        std::thread::yield_now();
    }
    daemon.limit_descriptors(1024);
    before.connect(1);
    Guest::attached(8, &daemon, &services).connect(1);
}

#[test]
fn the_process_is_confined() {
    let daemon = Daemon::start();
    let status = daemon.status();
    for line in ["Seccomp:\t2", "Seccomp_filters:\t2", "NoNewPrivs:\t1"] {
        assert!(status.contains(line), "{line} is not in\n{status}");
    }
}
