//! Supervisors that their QEMUs took over: what they write and claim is not what the daemon believes.

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};

use bartizan_attestation::certificates::FleetCa;
use bartizan_attestation::host::{GuestState, OperatorRefusal, OperatorReply, OperatorRequest};
use bartizan_attestation::identity::GuestIdentity;
use bartizan_hypervisor::daemon::{Started, StartedError};
use bartizan_hypervisor::qemu::process::User;
use rustix::process::Signal;
use rustix::thread::{Uid, set_thread_res_uid};

use crate::boot_sector::Program;
use crate::daemon::{Daemon, listed};
use crate::host::{Host, PATIENCE, eventually, is_alive, signal};
use crate::impostor::{say_done, stand_in};

/// Nobody's.
const SUPERVISOR: User = User {
    uid: 64_123,
    gid: 64_123,
};

/// Neither of which a former daemon may have been tricked into.
#[tokio::test]
async fn what_is_started_again_is_signed_and_of_the_same_vm() {
    let host = Host::new(Program::PrintsLogin);
    let ca = FleetCa::from_pem_or_der(&host.fleet.ca()).unwrap();
    let started = host.started();
    assert_eq!(started.verify(&ca).unwrap().operator, "ann");
    let of_another = Started {
        record: Host::new(Program::PrintsLogin).started().record,
        ..started.clone()
    };
    assert!(matches!(
        of_another.verify(&ca),
        Err(StartedError::Record(_))
    ));
    let victim = uuid::Uuid::from_u128(1);
    let yaml = host.config.record.replace(
        &uuid::Uuid::from_bytes(host.config.guest.vm).to_string(),
        &victim.to_string(),
    );
    let of_a_victim = Started {
        record: host.fleet.sign(&yaml),
        ..started.clone()
    };
    assert!(matches!(
        of_a_victim.verify(&ca),
        Err(StartedError::OtherVm(vm)) if vm == victim
    ));
    let mut changed = started;
    *changed.record.last_mut().unwrap() ^= 1;
    assert!(matches!(changed.verify(&ca), Err(StartedError::Record(_))));
}

#[tokio::test]
async fn supervisor_that_claims_another_guest_is_not_taken_up() {
    let host = Host::new(Program::PrintsLogin);
    host.launch().await.unwrap();
    host.state(GuestState::Running).await;
    let true_one = Started::load(&host.notes(), vm(&host)).unwrap().unwrap();
    let another = GuestIdentity {
        boot: 2,
        ..true_one.guest
    };
    for noted in [
        Started {
            guest: another,
            ..true_one.clone()
        },
        Started {
            cid: 8,
            ..true_one.clone()
        },
        Started {
            measurement: Some("00".repeat(48)),
            ..true_one.clone()
        },
        Started {
            record: host.fleet.sign(&format!("{}\n", host.config.record)),
            ..true_one.clone()
        },
    ] {
        noted.store(&host.notes()).unwrap();
        let daemon = Daemon::start(&host).await;
        assert_eq!(daemon.states().await, [GuestState::Unresponsive]);
    }
    true_one.store(&host.notes()).unwrap();
    let daemon = Daemon::start(&host).await;
    listed(&daemon, GuestState::Running).await;
    assert_eq!(daemon.stop(true).await, OperatorReply::Done);
}

/// The files that a supervisor may write do not say who is killed.
#[tokio::test]
async fn forced_stop_kills_the_supervisor_and_nobody_that_it_names() {
    let host = Host::new(Program::PrintsLogin);
    let supervisor = host.launch().await.unwrap();
    host.state(GuestState::Running).await;
    let daemon = Daemon::start(&host).await;
    let mut victim = Victim(Command::new("sleep").arg("600").spawn().unwrap());
    let pid = victim.0.id().to_string();
    for file in ["supervisor.lock", "qemu.lock", "supervisor.pid"] {
        fs::write(host.boot_folder().join(file), &pid).unwrap();
    }
    signal(supervisor, Signal::STOP);
    assert_eq!(daemon.stop(true).await, OperatorReply::Done);
    assert!(!is_alive(supervisor));
    assert!(victim.0.try_wait().unwrap().is_none());
}

/// Nor does what it answers keep it alive.
#[tokio::test]
async fn forced_stop_kills_a_supervisor_that_only_says_that_it_obeys() {
    let host = Host::new(Program::PrintsLogin);
    let supervisor = host.launch().await.unwrap();
    host.state(GuestState::Running).await;
    let daemon = Daemon::start(&host).await;
    listed(&daemon, GuestState::Running).await;
    stand_in(&host, |stream| {
        say_done(stream);
        true
    })
    .await;
    let gently = daemon.stop(false).await;
    assert!(
        matches!(
            gently,
            OperatorReply::Refused(OperatorRefusal::StillEnding(..))
        ),
        "{gently:?}"
    );
    assert!(is_alive(supervisor));
    assert_eq!(daemon.stop(true).await, OperatorReply::Done);
    assert!(!is_alive(supervisor));
}

#[tokio::test]
async fn supervisor_is_not_the_daemons_user_and_answers_that_user_only() {
    let host = Host::new(Program::PrintsLogin);
    let daemon = Daemon::start_with(&host, Some(SUPERVISOR)).await;
    let record = host.fleet.sign(&host.config.record);
    let started = daemon.ask(OperatorRequest::Run { record }).await;
    let OperatorReply::Guest(status) = started else {
        panic!("{started:?}")
    };
    let supervisor = parent(status.qemu_pid.unwrap());
    let uid = SUPERVISOR.uid;
    assert_eq!(
        field(supervisor, "Uid:"),
        format!("{uid}\t{uid}\t{uid}\t{uid}")
    );
    // CAP_KILL, CAP_SETGID, CAP_SETUID; whatever the daemon has.
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(field(supervisor, set), "00000000000000e0", "{set}");
    }
    let logs = fs::metadata(host.config.log()).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&logs.permissions()) & 0o777,
        0o600
    );

    // Another supervisor's user is its own.
    let socket = host.config.socket();
    assert_eq!(answer(&socket, uid), b"");
    assert_ne!(answer(&socket, 0), b"");

    // A daemon that comes later takes it up, and ends it.
    drop(daemon);
    let daemon = Daemon::start_with(&host, Some(SUPERVISOR)).await;
    assert_eq!(daemon.states().await.len(), 1);
    signal(supervisor, Signal::STOP);
    assert_eq!(daemon.stop(true).await, OperatorReply::Done);
    eventually(async || (!is_alive(supervisor)).then_some(())).await;
}

/// What a supervisor says first to a process of this user that asks for its status.
fn answer(socket: &Path, uid: u32) -> Vec<u8> {
    // For the folders, whose mode would keep it out before it is asked who it is.
    for folder in socket.ancestors().skip(1).take(4) {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(folder, mode).unwrap();
    }
    let connect = || {
        // The peer is who the connecting thread is at that moment (unix(7)).
        let uid = Uid::from_raw(uid);
        set_thread_res_uid(uid, uid, uid).unwrap();
        UnixStream::connect(socket).unwrap()
    };
    let connected = std::thread::scope(|scope| scope.spawn(connect).join());
    let mut link = connected.unwrap();
    link.set_read_timeout(Some(PATIENCE)).unwrap();
    let status = bartizan_attestation::host::SupervisorRequest::Status;
    // It may be closed by then.
    let _ = bartizan_local::write_frame(&mut link, &status, 1 << 20);
    let mut first = [0; 4];
    let size = link.read(&mut first).unwrap_or_default();
    first[..size].to_vec()
}

fn vm(host: &Host) -> uuid::Uuid {
    uuid::Uuid::from_bytes(host.config.guest.vm)
}

fn parent(pid: u32) -> u32 {
    field(pid, "PPid:").parse().unwrap()
}

fn field(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().trim().to_owned()
}

/// A process of somebody else's.
pub(crate) struct Victim(pub(crate) Child);

impl Drop for Victim {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().unwrap();
    }
}
