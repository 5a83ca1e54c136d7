//! What a supervisor's link says, and does not say, of its guest.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bartizan_attestation::host::{
    GuestState, MAX_FRAME, OperatorReply, OperatorRequest, SupervisorReply,
};
use bartizan_hypervisor::daemon::Started;
use bartizan_local::write_frame;

use crate::boot_sector::Program;
use crate::daemon::{Daemon, listed};
use crate::host::{Host, eventually, kill};
use crate::impostor::watched_by;

/// Known attack: a supervisor hands its end of the link on, or leaves events for an hour in it, and ends.
#[tokio::test]
async fn link_that_does_not_end_keeps_no_boot_alive() {
    for leave in [|_: &mut UnixStream| {}, fill] {
        let host = Host::new(Program::PrintsLogin);
        let supervisor = host.launch().await.unwrap();
        host.state(GuestState::Running).await;
        let handed_on = watched_by(&host, leave).await;
        let daemon = Daemon::start(&host).await;
        listed(&daemon, GuestState::Running).await;
        let _link = handed_on.recv().unwrap();
        kill(supervisor);
        eventually(async || (daemon.card.boots() == 1).then_some(())).await;
        listed(&daemon, GuestState::Running).await;
        assert_eq!(host.status().await.guest.boot, 2);
        assert_eq!(daemon.stop(true).await, OperatorReply::Done);
    }
}

fn fill(link: &mut UnixStream) {
    link.set_nonblocking(true).unwrap();
    while write_frame(&mut *link, &SupervisorReply::Done, MAX_FRAME).is_ok() {}
    link.flush().unwrap();
}

/// Its end is seen, it is to be started again, it waits for that: an operator's order holds at each of these moments.
#[tokio::test]
async fn stop_at_any_moment_of_an_end_is_the_last_word() {
    let host = Host::new(Program::PrintsLogin);
    host.launch().await.unwrap();
    host.state(GuestState::Running).await;
    let daemon = Daemon::start(&host).await;
    let vm = uuid::Uuid::from_bytes(host.config.guest.vm);
    for later in [0, 2, 10, 50, 900, 1100] {
        listed(&daemon, GuestState::Running).await;
        let noted = Started::load(&host.notes(), vm).unwrap().unwrap();
        noted.supervisor.unwrap().kill().unwrap();
        // Not to wait for anything: each time another moment.
        tokio::time::sleep(Duration::from_millis(later)).await;
        let force = later % 4 == 0;
        let stopped = daemon.stop(force).await;
        // A gentle one may find nobody to ask, and a guest that has not ended: it is refused, and that runs on.
        if stopped != OperatorReply::Done {
            assert!(!force, "{stopped:?}");
            assert_eq!(daemon.stop(true).await, OperatorReply::Done);
        }
        assert_eq!(daemon.states().await, [], "{later} {stopped:?}");
        let stays_down = Started::load(&host.notes(), vm).unwrap().unwrap();
        assert!(stays_down.stopped, "{later} {stopped:?}");
        let record = host.fleet.sign(&host.config.record);
        let started = daemon.ask(OperatorRequest::Run { record }).await;
        let OperatorReply::Guest(status) = started else {
            panic!("{later} {started:?}")
        };
        assert!(status.guest.boot > noted.guest.boot);
    }
    assert_eq!(daemon.stop(true).await, OperatorReply::Done);
}
