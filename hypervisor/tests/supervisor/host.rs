//! A host in a folder, with one guest.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bartizan_attestation::digest;
use bartizan_attestation::host::{
    Enrollment, GuestState, GuestStatus, MAX_FRAME, Outcome, SupervisorReply, SupervisorRequest,
};
use bartizan_attestation::identity::GuestIdentity;
use bartizan_attestation::measurement::HashAlgorithm;
use bartizan_hypervisor::cgroup::{Cgroup, Limits};
use bartizan_hypervisor::daemon::{HostService, ProcessId, Started};
use bartizan_hypervisor::qemu::accelerator::AcceleratorChoice;
use bartizan_hypervisor::qemu::queues::QueueLimit;
use bartizan_hypervisor::supervisor::{
    Ending, LaunchError, Milestone, Program as Executable, SupervisorConfig, SupervisorProgram,
    launch,
};
use bartizan_local::admission::Ticket;
use bartizan_local::aio;
use rustix::process::Signal;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use crate::boot_sector::{Program, image};
use crate::fake_devices::FakeDevices;
use crate::fake_measurer;
use crate::fleet::Fleet;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Where whoever runs the tests may not set them.
pub(crate) const LIMITS: Limits = Limits {
    overhead_mib: 1536,
    threads: 256,
    cpu_weight: 100,
    optional: true,
};
const FIRMWARE: &str = "/usr/share/seabios/bios-256k.bin";

pub(crate) struct Host {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) devices: FakeDevices,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) config: SupervisorConfig,
    pub(crate) group: Cgroup,
}

impl Host {
    pub(crate) fn new(program: Program) -> Self {
        Self::with(program, "")
    }

    /// With further lines of its guest's launch record.
    pub(crate) fn with(program: Program, lines: &str) -> Self {
        Self::of(Fleet::new(), program, lines)
    }

    /// Of a fleet.
    pub(crate) fn of(fleet: Fleet, program: Program, lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Supervisors may be another user's.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).unwrap();
        let disk = folder.path().join("disk.img");
        let sector = image(program);
        std::fs::write(&disk, &sector).unwrap();
        let sha384 = |bytes: &[u8]| digest::hash(HashAlgorithm::Sha384, bytes).to_string();
        let uuid = uuid::Uuid::new_v4();
        let directory = folder.path().join("guests").join(uuid.to_string());
        std::fs::create_dir_all(&directory).unwrap();
        let directory = directory.join("boot");

        let fleet = Arc::new(fleet);
        let record = format!(
            "version: 1\nname: sector\nuuid: {uuid}\nrole: test\nrestart: always\ncpus: 1\nmemory_mib: 64\n\
             boot_timeout_s: {timeout}\nfleet_ca_sha256: {anchor}\n\
             boot:\n  firmware:\n    image: {{path: {FIRMWARE}, sha384: {firmware}}}\n\
             disks:\n  - {{path: {disk}, readonly: true, sha384: {sector}}}\n{lines}",
            timeout = if matches!(program, Program::Silent) {
                5
            } else {
                60
            },
            anchor = fleet.anchor(),
            firmware = sha384(&std::fs::read(FIRMWARE).unwrap()),
            disk = disk.display(),
            sector = sha384(&sector),
        );
        let program = |path: PathBuf| Executable {
            path,
            measured: None,
            users: None,
        };
        let config = SupervisorConfig {
            guest: GuestIdentity {
                card: fleet.card_id,
                vm: *uuid.as_bytes(),
                boot: 1,
            },
            record,
            daemon: rustix::process::geteuid().as_raw(),
            cid: 7,
            directory,
            locks: folder.path().join("users"),
            qemu: program("/usr/bin/qemu-system-x86_64".into()),
            qemu_parts: None,
            tracking_library: None,
            measurer: program(fake_measurer::program(folder.path())),
            devices: folder.path().join("devices.sock"),
            ticket: Ticket::new([7; 32]),
            accelerator: AcceleratorChoice::Tcg,
            network_queues: QueueLimit::default(),
        };
        let devices = FakeDevices::serve(&config.devices);
        let group = Cgroup::create(&config.guest, 64 << 20, LIMITS).unwrap();
        let host = Self {
            group,
            folder,
            devices,
            fleet,
            config,
        };
        host.devices.admit(host.started().admission());
        host
    }

    pub(crate) async fn launch(&self) -> Result<u32, LaunchError> {
        self.launch_unless(false).await
    }

    /// With a daemon that may not be able to note the launch measurement.
    pub(crate) async fn launch_unless(&self, full_disk: bool) -> Result<u32, LaunchError> {
        let program = SupervisorProgram {
            program: env!("CARGO_BIN_EXE_bartizan-supervisor").into(),
            measured: None,
            user: None,
        };
        let mut started = self.started();
        let note = |milestone| {
            match milestone {
                Milestone::Spawned(pid) => started.supervisor = Some(ProcessId::of(pid).unwrap()),
                Milestone::Prepared(_) if full_disk => return Err("the disk is full".into()),
                Milestone::Prepared(digest) => started.measurement = Some(digest.to_string()),
            }
            started
                .store(&self.notes())
                .map_err(|error| error.to_string())
        };
        launch(&program, &self.config, &self.group, PATIENCE, note).await
    }

    /// What a daemon notes of the guest's start.
    pub(crate) fn started(&self) -> Started {
        Started {
            record: self.fleet.sign(&self.config.record),
            ordered_at_s: std::time::UNIX_EPOCH.elapsed().unwrap().as_secs(),
            guest: self.config.guest,
            cid: self.config.cid,
            ticket: self.config.ticket,
            network: None,
            services: vec![HostService {
                port: 1027,
                socket: self.guest_folder().join("api.sock").display().to_string(),
            }],
            measurement: None,
            group: self.group.clone(),
            supervisor: None,
            stopped: false,
        }
    }

    /// Where daemons note what they start.
    pub(crate) fn notes(&self) -> PathBuf {
        self.folder.path().join("started")
    }

    /// The guest's folder, which is the daemon's.
    pub(crate) fn guest_folder(&self) -> PathBuf {
        self.config.directory.parent().unwrap().to_owned()
    }

    /// The supervisor's folder.
    pub(crate) fn boot_folder(&self) -> PathBuf {
        self.config.directory.clone()
    }

    /// Whether whoever runs the tests may make control groups.
    pub(crate) fn has_groups(&self) -> bool {
        self.group != Cgroup::default()
    }

    pub(crate) async fn ask(&self, request: SupervisorRequest) -> SupervisorReply {
        self.try_ask(request).await.expect("the supervisor is gone")
    }

    async fn try_ask(&self, request: SupervisorRequest) -> Option<SupervisorReply> {
        let mut link = UnixStream::connect(self.config.socket()).await.ok()?;
        aio::write_frame(&mut link, &request, MAX_FRAME)
            .await
            .ok()?;
        timeout(PATIENCE, aio::read_frame(&mut link, MAX_FRAME))
            .await
            .unwrap()
            .ok()
    }

    pub(crate) async fn status(&self) -> GuestStatus {
        self.try_status().await.expect("the supervisor is gone")
    }

    pub(crate) async fn try_status(&self) -> Option<GuestStatus> {
        match self.try_ask(SupervisorRequest::Status).await? {
            SupervisorReply::Status(status) => Some(status),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn state(&self, state: GuestState) -> GuestStatus {
        eventually(async || Some(self.status().await).filter(|status| status.state == state)).await
    }

    pub(crate) async fn console(&self) -> Vec<u8> {
        match self.ask(SupervisorRequest::Console { max: 64 }).await {
            SupervisorReply::Console(output) => output,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn enrol(&self) {
        let SupervisorReply::LaunchSecret(secret) =
            self.ask(SupervisorRequest::TakeLaunchSecret).await
        else {
            panic!("no launch secret");
        };
        let enrollment = Enrollment::new(vec![vec![1].into()]);
        let enroll = SupervisorRequest::Enroll { secret, enrollment };
        assert_eq!(self.ask(enroll).await, SupervisorReply::Done);
    }

    pub(crate) async fn measure(&self, request: &[u8]) -> Outcome {
        match self
            .ask(SupervisorRequest::Measure {
                request: request.to_vec(),
            })
            .await
        {
            SupervisorReply::Measured(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn stop(&self, force: bool) -> SupervisorReply {
        self.ask(SupervisorRequest::Stop { force }).await
    }

    pub(crate) async fn ending(&self) -> Ending {
        eventually(async || Ending::load(&self.config.ending()).unwrap()).await
    }

    pub(crate) async fn watch(&self) -> Watch {
        let mut link = UnixStream::connect(self.config.socket()).await.unwrap();
        aio::write_frame(&mut link, &SupervisorRequest::Watch, MAX_FRAME)
            .await
            .unwrap();
        Watch(link)
    }
}

/// Nothing of it outlives a test, however that ends.
impl Drop for Host {
    fn drop(&mut self) {
        // A daemon may have started it again, in another group.
        let vm = uuid::Uuid::from_bytes(self.config.guest.vm);
        let noted = Started::load(&self.notes(), vm).ok().flatten();
        let mut groups = vec![self.group.clone()];
        groups.extend(noted.map(|started| started.group));
        let give_up = std::time::Instant::now() + PATIENCE;
        while !groups.iter().all(|group| group.end().unwrap())
            && std::time::Instant::now() < give_up
        {
            std::thread::yield_now();
        }
    }
}

pub(crate) struct Watch(UnixStream);

impl Watch {
    pub(crate) async fn until(&mut self, wanted: impl Fn(&SupervisorReply) -> bool) {
        let next =
            async { while !wanted(&aio::read_frame(&mut self.0, MAX_FRAME).await.unwrap()) {} };
        timeout(PATIENCE, next).await.unwrap();
    }
}

/// Asks until there is an answer.
pub(crate) async fn eventually<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < give_up, "waited in vain");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Whether a thread of a process has memory. Who ends gives that back before its locks and its control group (`do_exit` in
/// kernel/exit.c), and is on its way, and then a zombie, for some time after.
pub(crate) fn is_alive(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return false;
    };
    let has_memory = |thread: std::fs::DirEntry| {
        let pages = std::fs::read_to_string(thread.path().join("statm"));
        pages.is_ok_and(|pages| !pages.starts_with("0 "))
    };
    threads.flatten().any(has_memory)
}

pub(crate) fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}
