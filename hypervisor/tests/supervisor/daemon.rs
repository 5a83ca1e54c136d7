//! The hypervisor daemon over a host's supervisors: it can be started, asked and ended.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use bartizan_attestation::host::{
    GuestState, MAX_FRAME, OperatorRefusal, OperatorReply, OperatorRequest,
};
use bartizan_hypervisor::daemon::{Child, Config, Started, run};
use bartizan_hypervisor::qemu::accelerator::AcceleratorChoice;
use bartizan_hypervisor::qemu::process::User;
use bartizan_hypervisor::qemu::queues::QueueLimit;
use bartizan_hypervisor::supervisor::locks::{Holder, holder};
use bartizan_hypervisor::supervisor::{LaunchError, SupervisorProgram};
use bartizan_local::aio;
use rustix::process::Signal;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::boot_sector::Program;
use crate::fake_card::FakeCard;
use crate::fleet::Fleet;
use crate::host::{Host, LIMITS, PATIENCE, eventually, is_alive, kill, signal};

pub(crate) struct Daemon {
    pub(crate) card: FakeCard,
    operators: PathBuf,
    /// A process's end ends all of its tasks; the end of one of them would leave the others to work beside the next daemon's.
    process: Option<Runtime>,
}

impl Daemon {
    /// Starts one on a host; returns when it serves.
    pub(crate) async fn start(host: &Host) -> Self {
        Self::start_with(host, None).await
    }

    /// Whose supervisors run as `user`.
    pub(crate) async fn start_with(host: &Host, user: Option<User>) -> Self {
        Self::start_beside(Self::card(host), host, user).await
    }

    /// The card of a host.
    fn card(host: &Host) -> FakeCard {
        let socket = host.folder.path().join("card.sock");
        FakeCard::serve(&socket, Arc::clone(&host.fleet))
    }

    async fn start_beside(card: FakeCard, host: &Host, user: Option<User>) -> Self {
        let path = |name: &str| host.folder.path().join(name);
        let uid = rustix::process::geteuid().as_raw();
        std::fs::write(path("fleet.der"), host.fleet.configured()).unwrap();
        let child = |program: PathBuf| Child {
            measured: None,
            program,
            users: None,
        };
        let config = Config {
            qemu_parts: None,
            tracking_library: host.config.tracking_library.clone(),
            run_dir: host.folder.path().into(),
            operator_socket: path("operator.sock"),
            allowed_uids: vec![uid],
            card_socket: path("card.sock"),
            devices_socket: path("devices.sock"),
            devices_uid: uid,
            fleet_ca: path("fleet.der"),
            images: vec![host.folder.path().into()],
            supervisor: SupervisorProgram {
                program: env!("CARGO_BIN_EXE_bartizan-supervisor").into(),
                measured: None,
                user,
            },
            qemu: Child {
                users: host.config.qemu.users,
                ..child("/usr/bin/qemu-system-x86_64".into())
            },
            measurer: child(path("measurer")),
            accelerator: AcceleratorChoice::Tcg,
            network_queues: QueueLimit::default(),
            enclave: None,
            limits: LIMITS,
            services: Default::default(),
        };
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let operators = config.operator_socket.clone();
        let process = Runtime::new().unwrap();
        process.spawn(run(config, || ready.send(()).unwrap()));
        let daemon = Self {
            card,
            operators,
            process: Some(process),
        };
        timeout(PATIENCE, is_ready).await.unwrap().unwrap();
        daemon
    }

    pub(crate) async fn ask(&self, request: OperatorRequest) -> OperatorReply {
        let mut link = UnixStream::connect(&self.operators).await.unwrap();
        aio::write_frame(&mut link, &request, MAX_FRAME)
            .await
            .unwrap();
        timeout(2 * PATIENCE, aio::read_frame(&mut link, MAX_FRAME))
            .await
            .unwrap()
            .unwrap()
    }

    /// The states of all guests.
    pub(crate) async fn states(&self) -> Vec<GuestState> {
        match self.ask(OperatorRequest::List).await {
            OperatorReply::Guests(guests) => guests.into_iter().map(|guest| guest.state).collect(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn stop(&self, force: bool) -> OperatorReply {
        let vm = "sector".into();
        self.ask(OperatorRequest::Stop { vm, force }).await
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let process = self.process.take().unwrap();
        // A test's thread, which has a runtime of its own, may not wait for another's end.
        let ended = thread::spawn(move || process.shutdown_timeout(PATIENCE));
        drop(ended.join());
    }
}

/// A supervisor that was stopped and one that starves are all the same to who asks.
#[tokio::test]
async fn stalled_supervisor_is_unresponsive_and_its_guest_is_never_started_again() {
    let host = Host::new(Program::PrintsLogin);
    let supervisor = host.launch().await.unwrap();
    let status = host.state(GuestState::Running).await;
    signal(supervisor, Signal::STOP);

    // A daemon that finds it so.
    let daemon = Daemon::start(&host).await;
    assert_eq!(daemon.states().await, [GuestState::Unresponsive]);
    let vm = || "sector".to_owned();
    let shown = daemon.ask(OperatorRequest::Show { vm: vm() }).await;
    let OperatorReply::Summary(summary) = shown else {
        panic!("{shown:?}")
    };
    assert_eq!(summary.guest, status.guest.to_string());
    assert_eq!(
        daemon.stop(false).await,
        OperatorReply::Refused(OperatorRefusal::Unresponsive(vm()))
    );
    // Nor would another supervisor, though a hand starts one, which daemons do not do.
    let vm_id = uuid::Uuid::from_bytes(host.config.guest.vm);
    let noted = Started::load(&host.notes(), vm_id).unwrap().unwrap();
    assert!(matches!(
        host.launch().await,
        Err(LaunchError::Refused(OperatorRefusal::AlreadyRunning(_)))
    ));
    noted.store(&host.notes()).unwrap();

    signal(supervisor, Signal::CONT);
    listed(&daemon, GuestState::Running).await;
    // And one that follows it when it stalls.
    signal(supervisor, Signal::STOP);
    listed(&daemon, GuestState::Unresponsive).await;
    assert!(is_alive(status.qemu_pid.unwrap()));
    signal(supervisor, Signal::CONT);
    listed(&daemon, GuestState::Running).await;
    assert_eq!(host.status().await.qemu_pid, status.qemu_pid);
    assert_eq!(daemon.card.boots(), 0, "it was started again");
    daemon.stop(true).await;
}

#[tokio::test]
async fn stalled_supervisor_is_stopped_by_force_and_its_policy_does_not_start_it_again() {
    let host = Host::new(Program::PrintsLogin);
    let supervisor = host.launch().await.unwrap();
    let status = host.state(GuestState::Running).await;
    let daemon = Daemon::start(&host).await;
    listed(&daemon, GuestState::Running).await;
    signal(supervisor, Signal::STOP);
    assert_eq!(daemon.stop(true).await, OperatorReply::Done);
    assert!(!is_alive(status.qemu_pid.unwrap()));
    assert_eq!(holder(&host.boot_folder()).unwrap(), Holder::Nobody);
    assert_eq!(daemon.states().await, []);
    let vm = uuid::Uuid::from_bytes(host.config.guest.vm);
    let noted = Started::load(&host.notes(), vm).unwrap().unwrap();
    assert!(noted.stopped, "its policy is to be started always");
}

/// The daemon's end of a link, and the supervisor's, can end by themselves: only the locks tell of the guest.
#[tokio::test]
async fn guest_whose_supervisor_was_killed_is_started_again_once_its_qemu_is_gone() {
    let host = Host::new(Program::PrintsLogin);
    let supervisor = host.launch().await.unwrap();
    let qemu = host.state(GuestState::Running).await.qemu_pid.unwrap();
    let daemon = Daemon::start(&host).await;
    kill(supervisor);
    started_again(&daemon).await;
    assert!(!is_alive(qemu), "two QEMUs of one guest");
    listed(&daemon, GuestState::Running).await;
    assert!(host.status().await.guest.boot > 1);
    assert_eq!(daemon.stop(true).await, OperatorReply::Done);
}

/// After a restart of the host, say, nothing is known yet of the CA that took the configuration's place, and the card is late.
#[tokio::test]
async fn guest_of_a_later_fleet_ca_is_started_again_once_the_card_is_there() {
    let host = Host::of(Fleet::after_a_rotation(), Program::PrintsLogin, "");
    let supervisor = host.launch().await.unwrap();
    host.state(GuestState::Running).await;
    kill(supervisor);
    let ended = async || (holder(&host.boot_folder()).unwrap() == Holder::Nobody).then_some(());
    eventually(ended).await;
    let card = Daemon::card(&host);
    card.leave(true);
    let daemon = Daemon::start_beside(card, &host, None).await;
    eventually(async || (daemon.card.unheard() >= 2).then_some(())).await;
    assert_eq!(daemon.card.boots(), 0);
    daemon.card.leave(false);
    started_again(&daemon).await;
    listed(&daemon, GuestState::Running).await;
    assert_eq!(daemon.stop(true).await, OperatorReply::Done);
}

/// By the daemon's configuration alone the former CA counts to its own end, not to that of the link to it.
#[tokio::test]
async fn what_was_signed_under_a_former_fleet_ca_that_has_ended_is_not_started() {
    let host = Host::of(Fleet::long_after_a_rotation(), Program::PrintsLogin, "");
    let daemon = Daemon::start(&host).await;
    let fleet = &host.fleet;
    let record = (host.config.record).replace(&fleet.anchor(), &fleet.configured_anchor());
    assert!(record.contains(&fleet.configured_anchor()));
    let record = fleet.sign(&record);
    let refused = daemon.ask(OperatorRequest::Run { record }).await;
    assert!(
        matches!(
            refused,
            OperatorReply::Refused(OperatorRefusal::BadRecord(_))
        ),
        "{refused:?}"
    );
    assert_eq!(daemon.card.boots(), 0);
}

/// Revoking is for what is to be started: what runs goes on.
#[tokio::test]
async fn what_a_revoked_operator_signed_is_not_started_again() {
    let host = Host::new(Program::PrintsLogin);
    let supervisor = host.launch().await.unwrap();
    host.state(GuestState::Running).await;
    let daemon = Daemon::start(&host).await;
    daemon.card.revoke(true);
    listed(&daemon, GuestState::Running).await;
    kill(supervisor);
    eventually(async || (daemon.card.refused() >= 2).then_some(())).await;
    listed(&daemon, GuestState::Restarting).await;
    assert_eq!(daemon.card.boots(), 0);
    daemon.card.revoke(false);
    listed(&daemon, GuestState::Running).await;
    assert_eq!(daemon.stop(true).await, OperatorReply::Done);
}

/// Between two boots there is nothing to end, and still something to stop.
#[tokio::test]
async fn guest_that_waits_to_be_started_again_can_be_stopped() {
    let host = Host::new(Program::PrintsLogin);
    let supervisor = host.launch().await.unwrap();
    host.state(GuestState::Running).await;
    let daemon = Daemon::start(&host).await;
    daemon.card.revoke(true);
    kill(supervisor);
    listed(&daemon, GuestState::Restarting).await;
    eventually(async || (daemon.card.refused() >= 1).then_some(())).await;
    assert_eq!(daemon.stop(false).await, OperatorReply::Done);
    assert_eq!(daemon.states().await, []);
    daemon.card.revoke(false);
    // Nor does a later daemon.
    drop(daemon);
    let daemon = Daemon::start(&host).await;
    assert_eq!((daemon.states().await, daemon.card.boots()), (vec![], 0));
    let vm = uuid::Uuid::from_bytes(host.config.guest.vm);
    assert!(Started::load(&host.notes(), vm).unwrap().unwrap().stopped);
}

/// Waits until the guest is in this state, by the daemon's word.
pub(crate) async fn listed(daemon: &Daemon, state: GuestState) {
    eventually(async || (daemon.states().await == [state]).then_some(())).await;
}

/// Waits until a guest that ended is started again. A start that takes too long on a loaded machine is tried again, as another boot.
pub(crate) async fn started_again(daemon: &Daemon) {
    eventually(async || (daemon.card.boots() > 0).then_some(())).await;
}
