//! Who says which devices there are: the hypervisor daemon, and no supervisor that its QEMU took over.

use std::io::{Read, Write};

use bartizan_local::admission::{AdmissionReply, AdmissionRequest, Ticket};
use bartizan_local::attachment::{Attached, MAX_FRAME};
use bartizan_local::{read_frame, write_frame};

use crate::daemon::{Daemon, admission, ask, attach, ticket};
use crate::driver::{Guest, REQUEST, RST};
use crate::service;

fn attached(daemon: &Daemon, ticket: Ticket) -> Attached {
    attach(&daemon.control(), ticket, &[])
}

fn refusal(reply: AdmissionReply) -> String {
    match reply {
        AdmissionReply::Refused(reason) => reason,
        AdmissionReply::Done => panic!("done"),
    }
}

#[test]
fn nothing_is_attached_without_a_ticket() {
    let daemon = Daemon::start();
    assert_eq!(attached(&daemon, ticket(7)), Attached::UnknownTicket);
    daemon.admit(7, &[]);
    assert_eq!(attached(&daemon, ticket(8)), Attached::UnknownTicket);
    assert_eq!(attached(&daemon, ticket(7)), Attached::Serving);
}

/// Known attack: a supervisor attaches a device of another guest's CID, or one that reaches the other's services.
#[test]
fn a_ticket_is_for_the_device_that_was_admitted_and_no_other() {
    let daemon = Daemon::start();
    let own = [(1, service::echo(daemon.directory.path()))];
    daemon.admit(41, &own);
    daemon.admit(42, &[(2, daemon.path("api.sock"))]);
    // As supervisors once said what they want: {0: 42, 1: []}, CID and services.
    let control = daemon.control();
    let named = [0, 0, 0, 6, 0xa2, 0, 0x18, 42, 1, 0x80];
    (&control).write_all(&named).unwrap();
    let Attached::Refused(reason) = read_frame(&mut &control, MAX_FRAME).unwrap() else {
        panic!("it was believed")
    };
    assert!(reason.contains("not a message of this link"), "{reason}");
    // The driver finds its own CID in the device, and the other's service behind no port.
    let mut guest = Guest::attached(41, &daemon, &own);
    guest.connect(1);
    guest.send(&guest.header(REQUEST, 2), &[]);
    guest.expect(RST);
}

#[test]
fn supervisors_and_strangers_admit_nothing() {
    let daemon = Daemon::start();
    let admit = AdmissionRequest::Admit(admission(ticket(7), 7, &[]));
    for request in [admit, AdmissionRequest::Retain(vec![])] {
        let supervisor = daemon.control();
        write_frame(&mut &supervisor, &request, MAX_FRAME).unwrap();
        let answer = read_frame(&mut &supervisor, MAX_FRAME).unwrap();
        assert!(matches!(answer, Attached::Refused(_)), "{answer:?}");
        let mut stranger = daemon.stranger();
        // It may be closed by then.
        let _ = write_frame(&mut stranger, &request, MAX_FRAME);
        assert_eq!(stranger.read(&mut [0]).unwrap_or_default(), 0);
    }
    assert_eq!(attached(&daemon, ticket(7)), Attached::UnknownTicket);
}

#[test]
fn wrong_admissions_are_refused_with_a_reason_and_the_link_goes_on() {
    let daemon = Daemon::start();
    let link = daemon.hypervisor();
    let refused = |cid, services: &[_]| {
        let wrong = admission(ticket(1), cid, services);
        refusal(ask(&link, &AdmissionRequest::Admit(wrong)))
    };
    assert!(refused(2, &[]).contains("not a guest's CID"));
    assert!(refused(u32::MAX, &[]).contains("not a guest's CID"));
    assert!(refused(3, &[(1, "echo.sock".into())]).contains("no absolute path"));
    let twice = [(1, "/a".into()), (1, "/b".into())];
    assert!(refused(3, &twice).contains("port 1 is given twice"));
    let right = AdmissionRequest::Admit(admission(ticket(3), 3, &[]));
    assert_eq!(ask(&link, &right), AdmissionReply::Done);
}

#[test]
fn no_more_are_admitted_than_there_are_places() {
    let daemon = Daemon::start();
    let link = daemon.hypervisor();
    let admit = |cid| {
        let one = admission(ticket(cid), cid, &[]);
        ask(&link, &AdmissionRequest::Admit(one))
    };
    for cid in 3..3 + 1024 {
        assert_eq!(admit(cid), AdmissionReply::Done);
    }
    assert!(refusal(admit(5000)).contains("1024 devices are admitted"));
    let all_but_one: Vec<_> = (4..3 + 1024).map(ticket).collect();
    let retained = ask(&link, &AdmissionRequest::Retain(all_but_one));
    assert_eq!(retained, AdmissionReply::Done);
    assert_eq!(admit(5000), AdmissionReply::Done);
    assert_eq!(attached(&daemon, ticket(3)), Attached::UnknownTicket);
    assert_eq!(attached(&daemon, ticket(4)), Attached::Serving);
}

/// What a daemon that was killed had sent is read after its successor has admitted a guest.
#[test]
fn an_earlier_link_has_no_say_any_more() {
    let daemon = Daemon::start();
    let (mut earlier, later) = (daemon.hypervisor(), daemon.hypervisor());
    let admit = |cid| AdmissionRequest::Admit(admission(ticket(cid), cid, &[]));
    assert_eq!(ask(&earlier, &admit(7)), AdmissionReply::Done);
    assert_eq!(ask(&later, &admit(8)), AdmissionReply::Done);
    let dismissing = AdmissionRequest::Retain(vec![ticket(7)]);
    assert!(refusal(ask(&earlier, &dismissing)).contains("a later connection"));
    assert_eq!(earlier.read(&mut [0]).unwrap(), 0);
    assert_eq!(attached(&daemon, ticket(8)), Attached::Serving);
    assert_eq!(ask(&later, &admit(9)), AdmissionReply::Done);
}

/// The daemon may end and come back at any time, and admits all its guests anew then.
#[test]
fn devices_serve_on_while_the_daemon_is_away_and_when_it_admits_them_again() {
    let daemon = Daemon::start();
    let services = [(1, service::echo(daemon.directory.path()))];
    let mut guest = Guest::attached(7, &daemon, &services);
    let link = daemon.hypervisor();
    let again = AdmissionRequest::Admit(admission(ticket(7), 7, &services));
    assert_eq!(ask(&link, &again), AdmissionReply::Done);
    let retained = ask(&link, &AdmissionRequest::Retain(vec![ticket(7)]));
    assert_eq!(retained, AdmissionReply::Done);
    drop(link);
    guest.connect(1);
}

/// Known attack: the device of a boot that has ended, in the hands of another supervisor, reaches the API of the next.
#[test]
fn a_device_ends_with_its_admission() {
    let daemon = Daemon::start();
    let services = [(1, service::echo(daemon.directory.path()))];
    let replaced = Guest::attached(7, &daemon, &services);
    let dismissed = Guest::attached(8, &daemon, &services);
    let mut kept = Guest::attached(9, &daemon, &services);
    let link = daemon.hypervisor();
    let next_boot = AdmissionRequest::Admit(admission(ticket(70), 7, &services));
    assert_eq!(ask(&link, &next_boot), AdmissionReply::Done);
    assert!(replaced.is_cut_off());
    let retained = AdmissionRequest::Retain(vec![ticket(70), ticket(9)]);
    assert_eq!(ask(&link, &retained), AdmissionReply::Done);
    assert!(dismissed.is_cut_off());
    assert_eq!(attached(&daemon, ticket(7)), Attached::UnknownTicket);
    assert_eq!(attached(&daemon, ticket(70)), Attached::Serving);
    kept.connect(1);
}

/// A new one knows nobody until it is told.
#[test]
fn a_daemon_that_was_killed_forgets_what_was_admitted() {
    let mut daemon = Daemon::start();
    daemon.admit(7, &[]);
    daemon.replace();
    assert_eq!(attached(&daemon, ticket(7)), Attached::UnknownTicket);
    daemon.admit(7, &[]);
    assert_eq!(attached(&daemon, ticket(7)), Attached::Serving);
}
