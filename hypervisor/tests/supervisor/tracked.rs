//! The tracking of QEMU's writes, as far as it is there before a measurer asks for it. Needs `/dev/userfaultfd`, Linux 6.7 and root.

use std::collections::BTreeSet;
use std::path::PathBuf;

use bartizan_attestation::host::{GuestState, OperatorReply, OperatorRequest};
use bartizan_hypervisor::qemu::process::User;

use crate::boot_sector::Program;
use crate::daemon::Daemon;
use crate::host::Host;

/// Nobody's.
const SUPERVISOR: User = User {
    uid: 64_124,
    gid: 64_124,
};

/// Where cargo puts what it builds for a test.
fn library() -> PathBuf {
    let library = std::env::current_exe().unwrap();
    let library = library.with_file_name("libbartizan_tracked.so");
    assert!(library.exists(), "{} is not built", library.display());
    library
}

/// What its descriptors lead to.
fn descriptors(pid: u32) -> BTreeSet<String> {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .map(|link| link.display().to_string())
        .collect()
}

fn parent(pid: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    line.unwrap().trim().parse().unwrap()
}

const USERFAULT: &str = "anon_inode:[userfaultfd]";
const DEVICE: &str = "/dev/userfaultfd";

fn is_tracked(qemu: u32) -> bool {
    let of_supervisor = descriptors(parent(qemu));
    let page_map = of_supervisor.contains(&format!("/proc/{qemu}/pagemap"));
    assert_eq!(of_supervisor.contains(USERFAULT), page_map);
    // Whether or not: what would let it win races in the kernel.
    let of_qemu = descriptors(qemu);
    assert!(
        !of_qemu.contains(USERFAULT) && !of_qemu.contains(DEVICE),
        "{of_qemu:?}"
    );
    page_map
}

#[tokio::test]
async fn qemu_hands_over_what_tracks_it_and_keeps_nothing() {
    let mut host = Host::new(Program::PrintsLogin);
    host.config.tracking_library = Some(library());
    host.launch().await.unwrap();
    let status = host.state(GuestState::Running).await;
    assert!(is_tracked(status.qemu_pid.unwrap()));
}

/// As in earnest: three users, none of whom has the right to look into another's processes.
#[tokio::test]
async fn a_supervisor_that_is_not_root_can_look_at_its_own_qemu() {
    let mut host = Host::new(Program::PrintsLogin);
    host.config.tracking_library = Some(library());
    let users = r#"{"first":164125,"count":1,"gid":64125}"#;
    host.config.qemu.users = serde_json::from_str(users).unwrap();
    let daemon = Daemon::start_with(&host, Some(SUPERVISOR)).await;
    let record = host.fleet.sign(&host.config.record);
    let started = daemon.ask(OperatorRequest::Run { record }).await;
    let OperatorReply::Guest(status) = started else {
        panic!("{started:?}")
    };
    assert!(is_tracked(status.qemu_pid.unwrap()));
    assert_eq!(daemon.stop(true).await, OperatorReply::Done);
}

/// One that did not do its work leaves QEMU with what it should have taken.
#[tokio::test]
async fn without_the_library_qemu_is_started_anew_without_the_device() {
    let mut host = Host::new(Program::PrintsLogin);
    host.config.tracking_library = Some("/lib/x86_64-linux-gnu/libm.so.6".into());
    host.launch().await.unwrap();
    let status = host.state(GuestState::Running).await;
    assert!(!is_tracked(status.qemu_pid.unwrap()));

    let host = Host::new(Program::PrintsLogin);
    host.launch().await.unwrap();
    let status = host.state(GuestState::Running).await;
    let qemu = status.qemu_pid.unwrap();
    assert!(!is_tracked(qemu));
    assert!(!descriptors(parent(qemu)).contains(DEVICE));
}
