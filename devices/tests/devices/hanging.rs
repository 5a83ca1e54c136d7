//! QEMUs and supervisors that would have their device hang, and outlive its boot.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use bartizan_local::admission::{AdmissionReply, AdmissionRequest};
use bartizan_local::attachment::Attached;
use bartizan_local::send_with_descriptors;
use rustix::fs::{OFlags, fcntl_setfl};
use vmm_sys_util::eventfd::EventFd;

use crate::daemon::{Daemon, admission, ask, attach, attach_next, ticket};
use crate::driver::{Guest, RST, RW};
use crate::halting::Halted;
use crate::service;

/// recvmsg(2) of x86-64.
const RECVMSG: u32 = 47;

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

/// A device that serves: the control connection and both ends of the link, the second of which devices have, too.
fn attached(daemon: &Daemon, cid: u32) -> (UnixStream, UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    daemon.admit(cid, &[]);
    let (control, answer) = attach_next(daemon, ticket(cid), &[&theirs]);
    assert_eq!(answer, Attached::Serving);
    // GET_FEATURES; its answer shows that the link has its deadline.
    (&ours).write_all(&header(1, 0)).unwrap();
    (&ours).read_exact(&mut [0; 20]).unwrap();
    (control, ours, theirs)
}

/// The device that was dismissed has ended, and not the process: its ticket has a place again.
fn assert_it_ends(daemon: &mut Daemon, cid: u32) {
    daemon.a_thread_in(&[RECVMSG]);
    let dismissed = ask(&daemon.hypervisor(), &AdmissionRequest::Retain(Vec::new()));
    assert_eq!(dismissed, AdmissionReply::Done);
    drop(attached(daemon, cid));
    assert!(daemon.is_alive());
}

/// Known attack: the supervisor keeps the end that it sent, takes its deadline off, and sends half a message with its own end
/// attached, so that nobody's death ends the wait.
#[test]
fn a_device_that_waits_for_half_a_message_ends_when_it_is_dismissed() {
    let mut daemon = Daemon::start();
    let (_control, ours, theirs) = attached(&daemon, 7);
    theirs.set_read_timeout(None).unwrap();
    // SET_VRING_CALL.
    let half = header(13, 8);
    let sent = send_with_descriptors(&ours, &half, &[ours.as_fd()]).unwrap();
    assert_eq!(sent, half.len());
    drop((ours, theirs));
    assert_it_ends(&mut daemon, 7);
}

#[test]
fn a_device_that_waits_for_half_a_header_ends_when_it_is_dismissed() {
    let mut daemon = Daemon::start();
    let (_control, mut ours, _theirs) = attached(&daemon, 7);
    ours.write_all(&header(1, 0)[..5]).unwrap();
    assert_it_ends(&mut daemon, 7);
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
    let (mut control, (end, _ours)) = (daemon.control(), UnixStream::pair().unwrap());
    assert_eq!(attach(&control, ticket(70), &[&end]), Attached::Serving);
    assert!(daemon.is_alive());
    assert_eq!(control.read(&mut [0]).unwrap(), 0);
    assert_eq!(daemon.wait(), Some(1));
}

/// Makes writes to a full one wait, for all who have it.
#[expect(unsafe_code, reason = "the driver's eventfds lend no safe descriptor")]
fn wait_for_ever(event: &EventFd) {
    // SAFETY: `event` owns the descriptor and outlives the borrow.
    let event = unsafe { BorrowedFd::borrow_raw(event.as_raw_fd()) };
    fcntl_setfl(event, OFlags::empty()).unwrap();
}
