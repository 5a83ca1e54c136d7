//! Which device a guest has is the daemon's word, never its supervisor's: a supervisor may be its guest's.

use std::os::unix::fs::PermissionsExt;

use bartizan_attestation::host::{GuestState, OperatorRefusal, OperatorReply, OperatorRequest};
use bartizan_hypervisor::daemon::Started;
use bartizan_hypervisor::supervisor::LaunchError;
use bartizan_local::admission::{Admission, Ticket};
use uuid::Uuid;

use crate::boot_sector::Program;
use crate::daemon::{Daemon, listed};
use crate::host::{Host, eventually};

/// Known attack: a supervisor attaches another guest's device. It has no ticket for that, and without one no device.
#[tokio::test]
async fn supervisor_without_its_boots_ticket_attaches_nothing() {
    let mut host = Host::new(Program::PrintsLogin);
    host.config.ticket = Ticket::new([8; 32]);
    // On a loaded machine the stand-in's answer may come too late.
    eventually(async || {
        let refused = host.launch().await.unwrap_err();
        let unknown = "knows no guest by that ticket";
        matches!(refused, LaunchError::Refused(OperatorRefusal::Start(why)) if why.contains(unknown))
            .then_some(())
    })
    .await;
    assert_eq!(host.devices.attachments(), 0);
}

#[tokio::test]
async fn guest_is_admitted_before_it_runs_by_a_ticket_of_its_boot_and_dismissed_after_it() {
    let host = Host::new(Program::PrintsLogin);
    let daemon = Daemon::start(&host).await;
    // What nobody of this host's was started with.
    eventually(async || host.devices.admitted().is_empty().then_some(())).await;
    let mut tickets = Vec::new();
    for _ in 0..2 {
        let status = run(&host, &daemon).await;
        let OperatorReply::Guest(status) = status else {
            panic!("{status:?}")
        };
        let noted = noted(&host);
        // Devices that answer late are told again, of a guest that runs by then.
        let admitted = host.devices.admitted().into_iter();
        let admitted: Vec<_> = admitted
            .map(|one| Admission { runs: false, ..one })
            .collect();
        assert_eq!(admitted, [noted.admission()]);
        assert_eq!(noted.cid, status.cid);
        // A device that does not answer in time is attached again.
        assert!(host.devices.attachments() > tickets.len());
        let api = host.guest_folder().join("api.sock");
        let services = noted
            .services
            .iter()
            .map(|one| (one.port, one.socket.as_str()));
        assert_eq!(
            services.collect::<Vec<_>>(),
            [(1027, api.to_str().unwrap())]
        );
        tickets.push(noted.ticket);
        assert_eq!(daemon.stop(true).await, OperatorReply::Done);
        eventually(async || host.devices.admitted().is_empty().then_some(())).await;
    }
    assert_ne!(tickets[0], tickets[1]);
    let note = host.notes().join(format!("{}.json", vm(&host)));
    let mode = std::fs::metadata(note).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn what_devices_refuse_is_not_started() {
    let host = Host::new(Program::PrintsLogin);
    let daemon = Daemon::start(&host).await;
    host.devices.refuse(Some("1024 devices are admitted"));
    let refused = run(&host, &daemon).await;
    let OperatorReply::Refused(OperatorRefusal::Start(why)) = refused else {
        panic!("{refused:?}")
    };
    assert!(why.contains("1024 devices are admitted"), "{why}");
    assert!(noted(&host).stopped, "its policy is to be started always");
    assert_eq!(
        (daemon.states().await, host.devices.attachments()),
        (vec![], 0)
    );
    host.devices.refuse(None);
    let started = run(&host, &daemon).await;
    assert!(matches!(started, OperatorReply::Guest(_)), "{started:?}");
    assert_eq!(daemon.stop(true).await, OperatorReply::Done);
}

/// They forget everything, and believe the daemon only; which may come back later than they do.
#[tokio::test]
async fn devices_that_were_killed_are_told_again_by_the_daemon_or_by_the_next_one() {
    let host = Host::new(Program::PrintsLogin);
    host.launch().await.unwrap();
    host.state(GuestState::Running).await;
    let daemon = Daemon::start(&host).await;
    listed(&daemon, GuestState::Running).await;
    host.devices.drop_all();
    eventually(async || (host.devices.attachments() == 2).then_some(())).await;
    assert_eq!(host.devices.admitted(), [admission_of_running(&host)]);

    drop(daemon);
    host.devices.drop_all();
    // The relay has tried, and found that nobody knows it.
    eventually(async || (host.devices.unknown() >= 2).then_some(())).await;
    assert_eq!(host.devices.attachments(), 2);
    let daemon = Daemon::start(&host).await;
    eventually(async || (host.devices.attachments() == 3).then_some(())).await;
    assert_eq!(host.devices.admitted(), [admission_of_running(&host)]);
    assert_eq!(daemon.stop(true).await, OperatorReply::Done);
}

async fn run(host: &Host, daemon: &Daemon) -> OperatorReply {
    let record = host.fleet.sign(&host.config.record);
    daemon.ask(OperatorRequest::Run { record }).await
}

/// What devices are told of a guest that was there before.
fn admission_of_running(host: &Host) -> Admission {
    Admission {
        runs: true,
        ..noted(host).admission()
    }
}

fn noted(host: &Host) -> Started {
    Started::load(&host.notes(), vm(host)).unwrap().unwrap()
}

fn vm(host: &Host) -> Uuid {
    Uuid::from_bytes(host.config.guest.vm)
}
