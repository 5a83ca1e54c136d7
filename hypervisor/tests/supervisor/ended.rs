//! Boots that are over, or are to be: nothing of them lives on, and nothing starts that nobody waits for.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Command;

use bartizan_attestation::host::{GuestState, OperatorRefusal, OperatorReply, OperatorRequest};
use bartizan_hypervisor::daemon::Started;
use bartizan_hypervisor::supervisor::{Ending, LaunchError};
use uuid::Uuid;

use crate::boot_sector::Program;
use crate::daemon::{Daemon, listed, started_again};
use crate::host::{Host, eventually, is_alive, kill};
use crate::hostile::Victim;
use crate::impostor::{say_done, stand_in};

/// Known attack: its guest runs on, and no operator sees it.
#[tokio::test]
async fn supervisor_that_takes_its_locks_away_is_ended_with_its_guest() {
    let host = Host::new(Program::PrintsLogin);
    let supervisor = host.launch().await.unwrap();
    let qemu = host.state(GuestState::Running).await.qemu_pid.unwrap();
    for lock in ["supervisor.lock", "qemu.lock"] {
        fs::remove_file(host.boot_folder().join(lock)).unwrap();
    }
    let daemon = Daemon::start(&host).await;
    started_again(&daemon).await;
    assert!(!is_alive(supervisor) && !is_alive(qemu));
    listed(&daemon, GuestState::Running).await;
    assert!(host.status().await.guest.boot > 1);
    assert_eq!(daemon.stop(true).await, OperatorReply::Done);
}

/// Known attack: it says that it obeys, and that its guest wants another boot.
#[tokio::test]
async fn stopped_guest_stays_down_whatever_its_supervisor_leaves() {
    let host = Host::new(Program::PrintsLogin);
    let supervisor = host.launch().await.unwrap();
    host.state(GuestState::Running).await;
    let daemon = Daemon::start(&host).await;
    listed(&daemon, GuestState::Running).await;
    let ending = host.config.ending();
    stand_in(&host, move |stream| {
        Ending::Rebooted.store(&ending).unwrap();
        kill(supervisor);
        say_done(stream);
        true
    })
    .await;
    let stopped = daemon.stop(false).await;
    // Its QEMU may take longer to end than an operator is kept waiting.
    assert!(
        matches!(
            stopped,
            OperatorReply::Done | OperatorReply::Refused(OperatorRefusal::StillEnding(..))
        ),
        "{stopped:?}"
    );
    eventually(async || daemon.states().await.is_empty().then_some(())).await;
    let noted = Started::load(&host.notes(), vm(&host)).unwrap().unwrap();
    assert!(noted.stopped);
    assert_eq!(daemon.card.boots(), 0, "it was started again");
}

/// Known failure: a gentle stop that waits in vain took a later forced one back, and the guest's policy started it again.
#[tokio::test]
async fn forced_stop_holds_whatever_becomes_of_a_gentle_one_before_it() {
    let host = Host::new(Program::PrintsLogin);
    let supervisor = host.launch().await.unwrap();
    host.state(GuestState::Running).await;
    let daemon = Daemon::start(&host).await;
    listed(&daemon, GuestState::Running).await;
    let (asked, is_asked) = std::sync::mpsc::channel();
    let mut waiting = Vec::new();
    stand_in(&host, move |stream| {
        // Whoever asks waits, until a second one does: then the links of both end.
        waiting.push(stream);
        asked.send(()).unwrap();
        waiting.len() < 2
    })
    .await;
    let gentle = daemon.stop(false);
    let forced = async {
        eventually(async || is_asked.try_recv().ok()).await;
        daemon.stop(true).await
    };
    let (gentle, forced) = tokio::join!(gentle, forced);
    assert_eq!(forced, OperatorReply::Done, "{gentle:?}");
    assert!(!is_alive(supervisor));
    let noted = Started::load(&host.notes(), vm(&host)).unwrap().unwrap();
    assert!(noted.stopped, "its policy is to be started always");
    assert_eq!((daemon.states().await, daemon.card.boots()), (vec![], 0));
}

/// A later daemon owes its answer to nobody: the guest runs on, and so does its policy.
#[tokio::test]
async fn stop_that_outlived_its_daemon_is_forgotten_where_the_guest_runs_on() {
    let host = Host::new(Program::PrintsLogin);
    let supervisor = host.launch().await.unwrap();
    host.state(GuestState::Running).await;
    let noted = Started::load(&host.notes(), vm(&host)).unwrap().unwrap();
    let asked = Started {
        stopped: true,
        ..noted
    };
    asked.store(&host.notes()).unwrap();
    let daemon = Daemon::start(&host).await;
    listed(&daemon, GuestState::Running).await;
    assert!(
        !Started::load(&host.notes(), vm(&host))
            .unwrap()
            .unwrap()
            .stopped
    );
    kill(supervisor);
    started_again(&daemon).await;
    listed(&daemon, GuestState::Running).await;
    assert_eq!(daemon.stop(true).await, OperatorReply::Done);
}

/// Known attack: its folder is such that no later boot can begin.
#[tokio::test]
async fn folder_of_a_dead_boot_keeps_no_other_from_beginning() {
    let host = Host::new(Program::PrintsLogin);
    let supervisor = host.launch().await.unwrap();
    host.state(GuestState::Running).await;
    let folder = host.boot_folder();
    for name in ["supervisor.lock", "ending.partial", "console.log"] {
        fs::remove_file(folder.join(name)).ok();
        drop(UnixListener::bind(folder.join(name)).unwrap());
    }
    fs::set_permissions(&folder, Permissions::from_mode(0o1000)).unwrap();
    let daemon = Daemon::start(&host).await;
    kill(supervisor);
    started_again(&daemon).await;
    listed(&daemon, GuestState::Running).await;
    assert_eq!(daemon.stop(true).await, OperatorReply::Done);
}

/// Known attack: its lock is held by whom it was handed to, and its guest is on the list for ever.
#[tokio::test]
async fn lock_that_somebody_else_holds_keeps_no_boot_alive() {
    let host = Host::new(Program::PrintsLogin);
    host.launch().await.unwrap();
    host.state(GuestState::Running).await;
    let daemon = Daemon::start(&host).await;
    listed(&daemon, GuestState::Running).await;
    let lock = host.boot_folder().join("supervisor.lock");
    fs::remove_file(&lock).unwrap();
    let handed_on = fs::File::create(&lock).unwrap();
    handed_on.lock().unwrap();
    let stopped = daemon.stop(true).await;
    // Without a control group nobody else tells that it is over.
    assert_eq!(
        stopped == OperatorReply::Done,
        host.has_groups(),
        "{stopped:?}"
    );
    assert_eq!(daemon.states().await.is_empty(), host.has_groups());
}

/// Whatever a supervisor started is in its group, even where it does not die with it.
#[tokio::test]
async fn forced_stop_leaves_nothing_in_the_control_group() {
    let host = Host::new(Program::PrintsLogin);
    if !host.has_groups() {
        // Nobody could be left in a group.
        assert!(host.group.end().unwrap());
        return;
    }
    host.launch().await.unwrap();
    host.state(GuestState::Running).await;
    let daemon = Daemon::start(&host).await;
    listed(&daemon, GuestState::Running).await;
    let mut child = Victim(Command::new("sleep").arg("600").spawn().unwrap());
    for mut group in host.group.process_files().unwrap() {
        std::io::Write::write_all(&mut group, child.0.id().to_string().as_bytes()).unwrap();
    }
    assert_eq!(daemon.stop(true).await, OperatorReply::Done);
    let group = Started::load(&host.notes(), vm(&host)).unwrap().unwrap();
    // A supervisor that obeys ends its own guest; whoever else is in the group is ended with the boot.
    assert!(group.group.is_empty().unwrap());
    assert!(!is_alive(child.0.id()));
    child.0.wait().unwrap();
}

/// An operator who was told that a guest did not start must not find it running a day later.
#[tokio::test]
async fn refused_start_is_not_made_up_for_by_a_later_daemon() {
    let host = Host::new(Program::PrintsLogin);
    let disk = host.folder.path().join("disk.img");
    let true_one = fs::read(&disk).unwrap();
    fs::write(&disk, vec![0; 1 << 20]).unwrap();
    let daemon = Daemon::start(&host).await;
    let record = host.fleet.sign(&host.config.record);
    let run = || OperatorRequest::Run {
        record: record.clone(),
    };
    let refused = daemon.ask(run()).await;
    assert!(
        matches!(
            refused,
            OperatorReply::Refused(OperatorRefusal::FileMismatch { .. })
        ),
        "{refused:?}"
    );
    fs::write(&disk, true_one).unwrap();
    drop(daemon);
    let daemon = Daemon::start(&host).await;
    let noted = Started::load(&host.notes(), vm(&host)).unwrap().unwrap();
    assert!(noted.stopped, "its policy is to be started always");
    assert_eq!((daemon.states().await, daemon.card.boots()), (vec![], 0));
    // It is not forbidden, either.
    let started = daemon.ask(run()).await;
    assert!(matches!(started, OperatorReply::Guest(_)), "{started:?}");
    assert_eq!(daemon.stop(true).await, OperatorReply::Done);
}

/// As when the daemon ends at that moment: there is no guest whose measurement is known to its supervisor alone.
#[tokio::test]
async fn nothing_runs_before_its_launch_measurement_is_noted() {
    let host = Host::new(Program::PrintsLogin);
    let noted = host.launch_unless(true).await;
    assert!(matches!(noted, Err(LaunchError::Note(_))), "{noted:?}");
    let started = Started::load(&host.notes(), vm(&host)).unwrap().unwrap();
    assert_eq!(started.measurement, None);
    eventually(async || host.group.end().unwrap().then_some(())).await;
    assert_eq!(host.devices.attachments(), 0, "QEMU was started");
}

/// Whatever became of its operator, it has its UUID and its CID.
#[tokio::test]
async fn guest_whose_record_does_not_verify_keeps_its_place_until_it_is_stopped() {
    let host = Host::new(Program::PrintsLogin);
    let supervisor = host.launch().await.unwrap();
    host.state(GuestState::Running).await;
    let noted = Started::load(&host.notes(), vm(&host)).unwrap().unwrap();
    let first_free = 3;
    let unsigned = Started {
        record: vec![0],
        cid: first_free,
        ..noted
    };
    unsigned.store(&host.notes()).unwrap();
    let daemon = Daemon::start(&host).await;
    assert_eq!(daemon.states().await, [GuestState::Unresponsive]);

    let another = Uuid::new_v4().to_string();
    let yaml = (host.config.record)
        .replace(&vm(&host).to_string(), &another)
        .replace("name: sector", "name: another");
    let record = host.fleet.sign(&yaml);
    let started = daemon.ask(OperatorRequest::Run { record }).await;
    let OperatorReply::Guest(status) = started else {
        panic!("{started:?}")
    };
    assert_eq!(status.cid, first_free + 1);
    for name in [another, vm(&host).to_string()] {
        let stop = OperatorRequest::Stop {
            vm: name,
            force: true,
        };
        assert_eq!(daemon.ask(stop).await, OperatorReply::Done);
    }
    assert!(!is_alive(supervisor));
    assert_eq!(daemon.states().await, []);
}

fn vm(host: &Host) -> Uuid {
    Uuid::from_bytes(host.config.guest.vm)
}
