//! Real QEMU under the real `bartizan-supervisor`, with a boot sector for a guest and stand-ins for
//! the devices process and the measurer. Needs `qemu-system-x86_64` and SeaBIOS, nothing else.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

#[path = "supervisor/admitting.rs"]
mod admitting;
#[path = "supervisor/boot_sector.rs"]
mod boot_sector;
#[path = "supervisor/budget.rs"]
mod budget;
#[path = "supervisor/daemon.rs"]
mod daemon;
#[path = "supervisor/ended.rs"]
mod ended;
#[path = "supervisor/fake_card.rs"]
mod fake_card;
#[path = "supervisor/fake_devices.rs"]
mod fake_devices;
#[path = "supervisor/fake_measurer.rs"]
mod fake_measurer;
#[path = "supervisor/fleet.rs"]
mod fleet;
#[path = "supervisor/host.rs"]
mod host;
#[path = "supervisor/hostile.rs"]
mod hostile;
#[path = "supervisor/impostor.rs"]
mod impostor;
#[path = "supervisor/links.rs"]
mod links;
#[path = "supervisor/renewal.rs"]
mod renewal;
#[path = "supervisor/tracked.rs"]
mod tracked;

use bartizan_attestation::host::{
    Enrollment, GuestState, OperatorRefusal, Outcome, SupervisorReply, SupervisorRequest,
};
use bartizan_attestation::measurement::Refusal;
use bartizan_hypervisor::supervisor::{Ending, LaunchError};
use boot_sector::Program;
use host::{Host, eventually, is_alive, kill};

#[tokio::test]
async fn guest_boots_enrols_is_measured_and_stopped() {
    let host = Host::new(Program::PrintsLogin);
    host.launch().await.unwrap();
    let status = host.state(GuestState::Running).await;
    assert_eq!((status.cid, status.accelerator.as_str()), (7, "tcg"));
    assert_eq!(status.launch_measurement.0.len(), 48);
    assert!(host.console().await.ends_with(b"login:"));

    let early = host.measure(b"nothing").await;
    assert_eq!(early, Outcome::Refused(Refusal::NotEnrolled));
    let SupervisorReply::LaunchSecret(secret) = host.ask(SupervisorRequest::TakeLaunchSecret).await
    else {
        panic!("no launch secret");
    };
    let again = host.ask(SupervisorRequest::TakeLaunchSecret).await;
    assert!(matches!(again, SupervisorReply::Refused(_)));
    let enrollment = Enrollment::new(vec![vec![1].into()]);
    let enroll = SupervisorRequest::Enroll {
        secret,
        enrollment: enrollment.clone(),
    };
    assert_eq!(host.ask(enroll.clone()).await, SupervisorReply::Done);
    assert!(matches!(
        host.ask(enroll).await,
        SupervisorReply::Refused(_)
    ));
    assert_eq!(host.status().await.enrollment, Some(enrollment));

    let mut watch = host.watch().await;
    watch
        .until(|reply| matches!(reply, SupervisorReply::CertificateNeeded { csr } if csr == b"csr"))
        .await;
    let install = SupervisorRequest::InstallCertificate {
        chain: vec![vec![2].into()],
    };
    assert_eq!(host.ask(install).await, SupervisorReply::Done);
    assert_eq!(
        host.measure(b"certificate").await,
        Outcome::Report(vec![2].into())
    );

    // A rotation is answered once the key that was made for it is certified.
    let rotate = || host.ask(SupervisorRequest::RotateReportKey);
    let certified = async {
        watch
            .until(|reply| matches!(reply, SupervisorReply::CertificateNeeded { csr } if csr == b"ordered"))
            .await;
        let busy = rotate().await;
        assert!(matches!(busy, SupervisorReply::Refused(_)), "{busy:?}");
        let install = SupervisorRequest::InstallCertificate {
            chain: vec![vec![3].into()],
        };
        assert_eq!(host.ask(install).await, SupervisorReply::Done);
    };
    let (rotated, ()) = tokio::join!(rotate(), certified);
    let SupervisorReply::ReportKeyRotated(rotated) = rotated else {
        panic!("{rotated:?}");
    };
    assert_eq!(*rotated.new, [3; 32]);

    assert_eq!(host.stop(true).await, SupervisorReply::Done);
    watch.until(|reply| matches!(reply, SupervisorReply::Status(status) if status.state == GuestState::Stopped)).await;
    assert_eq!(host.ending().await, Ending::Stopped);
    assert!(!is_alive(status.qemu_pid.unwrap()));
}

#[tokio::test]
async fn pause_is_a_lease_that_ends_whatever_the_measurer_does() {
    let host = Host::new(Program::PrintsLogin);
    host.launch().await.unwrap();
    host.state(GuestState::Running).await;
    host.enrol().await;
    let Outcome::Report(report) = host.measure(b"pause").await else {
        panic!("refused")
    };
    assert_eq!(report.message, [1, 1], "paused, and resumed in time");
    let Outcome::Report(report) = host.measure(b"oversleep").await else {
        panic!("refused")
    };
    assert_eq!(report.message, [1, 0], "paused, and resumed too late");
    host.state(GuestState::Running).await;

    let measurer = host.status().await.measurer_pid.unwrap();
    assert_eq!(
        host.measure(b"die paused").await,
        Outcome::Refused(Refusal::Unavailable)
    );
    host.state(GuestState::Running).await;
    let next = eventually(async || {
        host.status()
            .await
            .measurer_pid
            .filter(|pid| *pid != measurer)
    })
    .await;
    assert!(is_alive(next) && !is_alive(measurer));
    let outcome = eventually(async || match host.measure(b"pause").await {
        Outcome::Refused(_) => None,
        report => Some(report),
    })
    .await;
    assert_eq!(outcome, Outcome::Report(vec![1, 1].into()));
    host.stop(true).await;
}

#[tokio::test]
async fn nothing_outlives_a_killed_supervisor() {
    let host = Host::new(Program::PrintsLogin);
    let supervisor = host.launch().await.unwrap();
    let status =
        eventually(async || Some(host.status().await).filter(|one| one.measurer_pid.is_some()))
            .await;
    kill(supervisor);
    let children = [status.qemu_pid.unwrap(), status.measurer_pid.unwrap()];
    eventually(async || (!children.into_iter().any(is_alive)).then_some(())).await;
}

#[tokio::test]
async fn killed_qemu_is_a_failure() {
    let host = Host::new(Program::PrintsLogin);
    host.launch().await.unwrap();
    kill(host.status().await.qemu_pid.unwrap());
    assert!(matches!(host.ending().await, Ending::Failed { reason } if reason.contains("SIGKILL")));
}

#[tokio::test]
async fn reset_is_the_wish_for_another_boot() {
    let host = Host::new(Program::Resets);
    host.launch().await.unwrap();
    assert_eq!(host.ending().await, Ending::Rebooted);
}

#[tokio::test]
async fn silent_boot_is_tried_three_times() {
    let host = Host::new(Program::Silent);
    host.launch().await.unwrap();
    let first = host.status().await.qemu_pid.unwrap();
    eventually(async || {
        host.try_status()
            .await?
            .qemu_pid
            .filter(|pid| *pid != first)
    })
    .await;
    assert!(
        matches!(host.ending().await, Ending::Failed { reason } if reason.contains("3 attempts"))
    );
    assert_eq!(host.devices.attachments(), 3);
}

#[tokio::test]
async fn device_is_attached_again_when_the_devices_process_was_killed() {
    let host = Host::new(Program::PrintsLogin);
    host.launch().await.unwrap();
    host.state(GuestState::Running).await;
    host.enrol().await;
    host.devices.drop_all();
    host.devices.admit(host.started().admission());
    eventually(async || (host.devices.attachments() == 2).then_some(())).await;
    // QEMU stops and starts its devices around a pause.
    assert_eq!(
        host.measure(b"pause").await,
        Outcome::Report(vec![1, 1].into())
    );
    host.stop(true).await;
}

#[tokio::test]
async fn changed_disk_is_refused_with_both_digests() {
    let host = Host::new(Program::PrintsLogin);
    let disk = host.folder.path().join("disk.img");
    std::fs::write(&disk, vec![0; 1 << 20]).unwrap();
    let refused = host.launch().await;
    let Err(LaunchError::Refused(OperatorRefusal::FileMismatch { path, .. })) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(path, disk.display().to_string());
}

/// A guest that sleeps may wake up at any time: it does not stand still for a snapshot.
#[tokio::test]
async fn sleeping_guest_is_not_paused() {
    let host = Host::new(Program::Sleeps);
    host.launch().await.unwrap();
    host.state(GuestState::Running).await;
    host.enrol().await;
    // It says its word before it sleeps.
    eventually(async || {
        let paused = host.measure(b"pause in vain").await;
        (paused == Outcome::Report(vec![0].into())).then_some(())
    })
    .await;
    host.stop(true).await;
}

/// What a guest makes its measurer use counts for the guest.
#[tokio::test]
async fn measurer_is_in_its_guests_control_group() {
    let host = Host::new(Program::PrintsLogin);
    host.launch().await.unwrap();
    let qemu = host.state(GuestState::Running).await.qemu_pid.unwrap();
    host.enrol().await;
    let Outcome::Report(report) = host.measure(b"groups").await else {
        panic!("refused")
    };
    let of_measurer = String::from_utf8(report.message).unwrap();
    let of_qemu = std::fs::read_to_string(format!("/proc/{qemu}/cgroup")).unwrap();
    assert_eq!(of_measurer, of_qemu);
    let vm = uuid::Uuid::from_bytes(host.config.guest.vm).to_string();
    assert_eq!(of_qemu.contains(&vm), host.has_groups(), "{of_qemu}");
    host.stop(true).await;
}
