//! QEMUs and supervisors that would have their device hang, and outlive its boot.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use bartizan_local::admission::{AdmissionReply, AdmissionRequest};
use bartizan_local::attachment::{Attached, DeviceKind};
use bartizan_local::send_with_descriptors;
use rustix::fs::{OFlags, fcntl_setfl};
use vmm_sys_util::eventfd::EventFd;

use crate::daemon::{DEADLINE, Daemon, admission, ask, attach, attach_next, ticket, unlogged};
use crate::driver::{Guest, RST, RW};
use crate::halting::Halted;
use crate::service;

/// write(2), and epoll_wait(2), epoll_pwait(2) and epoll_pwait2(2), of x86-64.
const WRITE: u32 = 1;
const EPOLL: [u32; 3] = [232, 281, 441];

/// A message's header (vhost-user): request, version 1, size of the body.
fn header(request: u32, size: u32) -> Vec<u8> {
    [request, 1, size]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect()
}

/// Known attack: a supervisor sends its device part of a message, with its own ends attached to it, and dies: that of its connection
/// to the daemon, say, and that which attached the device. What it left in devices ends, and nothing of it is kept open there.
fn assert_nothing_is_kept(part: &[u8]) {
    let mut daemon = Daemon::start();
    daemon.admit(7, &[]);
    let link = daemon.control();
    assert_eq!(attach(&link, ticket(7), &[]), Attached::Serving);
    // GET_FEATURES: its answer shows that the device has begun.
    (&link).write_all(&header(1, 0)).unwrap();
    (&link).read_exact(&mut [0; 20]).unwrap();
    let (own, mut of_the_daemon) = UnixStream::pair().unwrap();
    of_the_daemon.set_read_timeout(Some(DEADLINE)).unwrap();
    let sent = send_with_descriptors(&link, part, &[own.as_fd(), link.as_fd()]).unwrap();
    assert_eq!(sent, part.len());
    drop((own, link));
    assert_eq!(of_the_daemon.read(&mut [0]).unwrap(), 0);
    let (_link, answer) = attach_next(&daemon, &unlogged(ticket(7), DeviceKind::Vsock), &[]);
    assert_eq!(answer, Attached::Serving);
    assert!(daemon.is_alive());
}

#[test]
fn a_part_of_a_header_ends_its_device_and_the_descriptors_with_it() {
    assert_nothing_is_kept(&header(1, 0)[..1]);
}

#[test]
fn a_part_of_a_body_ends_its_device_and_the_descriptors_with_it() {
    // SET_VRING_CALL.
    let header = header(13, 8);
    assert_nothing_is_kept(&header);
    assert_nothing_is_kept(&[header.as_slice(), &[0; 7]].concat());
}

/// Known attack: QEMU makes writes to its eventfds wait, which are the open file's to say, and leaves no room in them.
#[test]
fn eventfds_that_are_full_and_wait_hang_nobody() {
    let mut daemon = Daemon::start();
    let services = [(1, service::echo(daemon.directory.path()))];
    let mut guest = Guest::attached(42, &daemon, &services);
    for call in [&guest.rx.call, &guest.tx.call] {
        // What it was set up by is signalled already.
        call.read().unwrap();
        call.write(u64::MAX - 1).unwrap();
        wait_for_ever(call);
    }
    // Each is signalled once the device has given something back, and is past that when it gives back more.
    for _ in 0..2 {
        guest.send_data(1, b"to nobody");
        guest.tx.wait_until_used(&guest.memory);
    }
    guest.expect(RST);
    guest.expect(RST);
    guest.connect(1);
    guest.send_data(1, b"works");
    assert_eq!(guest.expect(RW).1, b"works");
    assert!(daemon.is_alive());
}

/// Known attack: QEMU fills its eventfd between the device's question and its signal. Here the device is halted there.
#[test]
fn a_device_that_hangs_keeps_no_guest_from_its_own_and_ends_the_process_at_last() {
    let mut daemon = Daemon::start();
    let mut guest = Guest::attached(42, &daemon, &[]);
    let call = guest.tx.call.try_clone().unwrap();
    call.read().unwrap();
    wait_for_ever(&call);
    // A device waits nowhere else, and who waits there is a device.
    let thread = daemon.a_thread_in(&EPOLL);
    let mut device = Halted::new(thread);
    guest.send(&guest.header(RST, 1), &[]);
    device.run_until(|| daemon.call_of(thread) == Some(WRITE));
    call.write(u64::MAX - 1).unwrap();
    drop(device);
    let link = daemon.hypervisor();
    let next_boot = AdmissionRequest::Admit(admission(ticket(70), 42, &[]));
    assert_eq!(ask(&link, &next_boot), AdmissionReply::Done);
    let mut next = daemon.control();
    assert_eq!(attach(&next, ticket(70), &[]), Attached::Serving);
    assert!(daemon.is_alive());
    assert_eq!(next.read(&mut [0]).unwrap(), 0);
    assert_eq!(daemon.wait(), Some(1));
}

/// Makes writes to a full one wait, for all who have it.
#[expect(unsafe_code, reason = "the driver's eventfds lend no safe descriptor")]
fn wait_for_ever(event: &EventFd) {
    // SAFETY: `event` owns the descriptor and outlives the borrow.
    let event = unsafe { BorrowedFd::borrow_raw(event.as_raw_fd()) };
    fcntl_setfl(event, OFlags::empty()).unwrap();
}
