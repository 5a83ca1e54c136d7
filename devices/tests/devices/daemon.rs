//! The daemon under test.

use std::fs::{File, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use bartizan_local::admission::{
    self, Admission, AdmissionReply, AdmissionRequest, Interface, Service, Ticket,
};
use bartizan_local::attachment::{Attach, Attached, DeviceKind, MAX_FRAME};
use bartizan_local::{read_frame, send_with_descriptors, write_frame};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use rustix::thread::{Uid, set_thread_res_uid};
use tempfile::TempDir;

/// Nothing here takes longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The user of supervisors, and one who has no business with devices; nobody's.
const SUPERVISOR: u32 = 64_123;
const STRANGER: u32 = 64_124;

/// A running daemon, killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) directory: TempDir,
    around: Around,
}

/// What is around it, where it is not the usual.
#[derive(Default)]
pub(crate) struct Around {
    /// The words of the command that becomes the daemon.
    pub(crate) command: Vec<String>,
    /// Whose the folder of its sockets is.
    pub(crate) owner: Option<u32>,
    /// What its configuration says besides.
    pub(crate) config: String,
}

impl Daemon {
    pub(crate) fn start() -> Self {
        Self::start_in(Around::default())
    }

    pub(crate) fn start_in(around: Around) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), Permissions::from_mode(0o711)).unwrap();
        std::os::unix::fs::chown(directory.path(), around.owner, None).unwrap();
        let child = spawn(&directory, &around);
        Self {
            child,
            directory,
            around,
        }
    }

    /// kill -9, and another one in its place.
    pub(crate) fn replace(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(&self.directory, &self.around);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A supervisor's link.
    pub(crate) fn control(&self) -> UnixStream {
        self.connect(SUPERVISOR)
    }

    /// The hypervisor daemon's link.
    pub(crate) fn hypervisor(&self) -> UnixStream {
        self.connect(rustix::process::geteuid().as_raw())
    }

    /// Of somebody else's.
    pub(crate) fn stranger(&self) -> UnixStream {
        self.connect(STRANGER)
    }

    /// The hypervisor daemon's link for what is decided.
    pub(crate) fn decisions(&self) -> UnixStream {
        let uid = rustix::process::geteuid().as_raw();
        self.connect_to("decisions.sock", uid)
    }

    /// Of somebody else's.
    pub(crate) fn strangers_decisions(&self) -> UnixStream {
        self.connect_to("decisions.sock", STRANGER)
    }

    fn connect(&self, uid: u32) -> UnixStream {
        self.connect_to("control.sock", uid)
    }

    fn connect_to(&self, socket: &str, uid: u32) -> UnixStream {
        let control = connect(&self.path(socket), uid);
        control.set_read_timeout(Some(DEADLINE)).unwrap();
        control
    }

    /// Has a CID admitted by its [`ticket`].
    pub(crate) fn admit(&self, cid: u32, services: &[(u32, PathBuf)]) {
        self.admit_with(cid, services, None, false);
    }

    /// As [`Self::admit`], with a network device, of a guest that may run already.
    pub(crate) fn admit_with(
        &self,
        cid: u32,
        services: &[(u32, PathBuf)],
        network: Option<Interface>,
        runs: bool,
    ) {
        let admission = Admission {
            network,
            runs,
            ..admission(ticket(cid), cid, services)
        };
        let reply = ask(&self.hypervisor(), &AdmissionRequest::Admit(admission));
        assert_eq!(reply, AdmissionReply::Done);
    }

    /// Waits until it has logged that.
    pub(crate) fn wait_until_logged(&self, words: &str) {
        let give_up = Instant::now() + DEADLINE;
        while !std::fs::read_to_string(self.path("log"))
            .unwrap()
            .contains(words)
        {
            assert!(Instant::now() < give_up, "never logged: {words}");
            std::thread::yield_now();
        }
    }

    pub(crate) fn status(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap()
    }

    /// Leaves it so many descriptors; what it has, it keeps.
    pub(crate) fn limit_descriptors(&self, limit: u64) {
        let new = Rlimit {
            current: Some(limit),
            maximum: getrlimit(Resource::Nofile).maximum,
        };
        prlimit(Some(self.pid()), Resource::Nofile, new).unwrap();
    }

    /// The number of the system call that its main thread waits in.
    pub(crate) fn waits_in(&self) -> Option<u32> {
        waits_in(&PathBuf::from(format!("/proc/{}", self.child.id())))
    }

    /// One of its threads that is in one of these system calls, by their numbers. Waits for it.
    pub(crate) fn a_thread_in(&self, calls: &[u32]) -> Pid {
        let give_up = Instant::now() + DEADLINE;
        loop {
            for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap() {
                let task = task.unwrap();
                if waits_in(&task.path()).is_some_and(|call| calls.contains(&call)) {
                    let id = task.file_name().to_str().unwrap().parse().unwrap();
                    return Pid::from_raw(id).unwrap();
                }
            }
            assert!(Instant::now() < give_up, "no thread is in any of {calls:?}");
            std::thread::yield_now();
        }
    }

    /// The number of the system call that one of its threads is in.
    pub(crate) fn call_of(&self, thread: Pid) -> Option<u32> {
        let (process, thread) = (self.child.id(), thread.as_raw_pid());
        waits_in(&PathBuf::from(format!("/proc/{process}/task/{thread}")))
    }

    /// Waits for its end, which is under way; its exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Of a process or thread in `/proc`.
fn waits_in(task: &Path) -> Option<u32> {
    let call = std::fs::read_to_string(task.join("syscall")).ok()?;
    call.split(' ').next()?.parse().ok()
}

/// Asks as the hypervisor daemon does.
pub(crate) fn ask(link: &UnixStream, request: &AdmissionRequest) -> AdmissionReply {
    write_frame(&mut &*link, request, admission::MAX_FRAME).unwrap();
    read_frame(&mut &*link, admission::MAX_FRAME).unwrap()
}

/// Attaches a vsock device without a log; returns the answer.
pub(crate) fn attach(control: &UnixStream, ticket: Ticket, descriptors: &[&dyn AsFd]) -> Attached {
    attach_as(control, &unlogged(ticket, DeviceKind::Vsock), descriptors)
}

/// A device of which nothing is noted.
pub(crate) fn unlogged(ticket: Ticket, device: DeviceKind) -> Attach {
    Attach {
        ticket,
        device,
        logged: false,
    }
}

/// Sends an attachment with descriptors; returns the answer.
pub(crate) fn attach_as(
    control: &UnixStream,
    wish: &Attach,
    descriptors: &[&dyn AsFd],
) -> Attached {
    let mut frame = Vec::new();
    write_frame(&mut frame, wish, MAX_FRAME).unwrap();
    let descriptors: Vec<_> = descriptors
        .iter()
        .map(|descriptor| descriptor.as_fd())
        .collect();
    assert_eq!(
        send_with_descriptors(control, &frame, &descriptors).unwrap(),
        frame.len()
    );
    read_frame(&mut &*control, MAX_FRAME).unwrap()
}

/// As [`attach_as`], once more each time that the ticket's former device has not quite ended.
pub(crate) fn attach_next(
    daemon: &Daemon,
    wish: &Attach,
    descriptors: &[&dyn AsFd],
) -> (UnixStream, Attached) {
    let give_up = Instant::now() + DEADLINE;
    loop {
        let control = daemon.control();
        match attach_as(&control, wish, descriptors) {
            Attached::Refused(why)
                if why.contains("has a device already") && Instant::now() < give_up => {}
            answer => return (control, answer),
        }
    }
}

/// What a CID is attached by in these tests.
pub(crate) fn ticket(cid: u32) -> Ticket {
    let mut bytes = [0x5a; 32];
    bytes[..4].copy_from_slice(&cid.to_be_bytes());
    Ticket::new(bytes)
}

pub(crate) fn admission(ticket: Ticket, cid: u32, services: &[(u32, PathBuf)]) -> Admission {
    let service = |(port, path): &(u32, PathBuf)| Service {
        port: *port,
        socket: path.to_str().unwrap().to_owned(),
    };
    Admission {
        ticket,
        cid,
        services: services.iter().map(service).collect(),
        network: None,
        runs: false,
    }
}

/// Connects as another user, for which the tests must be root's.
fn connect(socket: &Path, uid: u32) -> UnixStream {
    let connect = || {
        // The peer is who the connecting thread is at that moment (unix(7)).
        let uid = Uid::from_raw(uid);
        set_thread_res_uid(uid, uid, uid).unwrap();
        UnixStream::connect(socket).unwrap()
    };
    std::thread::scope(|scope| scope.spawn(connect).join()).unwrap()
}

/// Starts the daemon and waits until it is ready.
fn spawn(directory: &TempDir, around: &Around) -> Child {
    let config = directory.path().join("devices.yaml");
    let socket = directory.path().join("control.sock");
    let text = format!(
        "control_socket: {}\ndecisions_socket: {}\nhypervisor_uid: {}\nallowed_uids: [{SUPERVISOR}]\nconnections_per_guest: 16\n{}",
        socket.display(),
        directory.path().join("decisions.sock").display(),
        rustix::process::geteuid().as_raw(),
        around.config,
    );
    std::fs::write(&config, text).unwrap();
    let notify = directory.path().join("notify.sock");
    let ready = UnixDatagram::bind(&notify).unwrap();
    ready
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    std::fs::set_permissions(&notify, Permissions::from_mode(0o666)).unwrap();
    let mut words = around.command.clone();
    let mut program = PathBuf::from(env!("CARGO_BIN_EXE_bartizan-devices"));
    if around.owner.is_some() {
        // Another user may not pass through the folders that lead there.
        let copy = directory.path().join("bartizan-devices");
        std::fs::copy(&program, &copy).unwrap();
        program = copy;
    }
    words.push(program.to_str().unwrap().into());
    let child = Command::new(&words[0])
        .args(&words[1..])
        .arg("--config")
        .arg(&config)
        .env("NOTIFY_SOCKET", &notify)
        .stderr(File::create(directory.path().join("log")).unwrap())
        .spawn()
        .unwrap();
    let mut message = [0; 16];
    // No answer in time: the daemon did not get ready.
    let length = ready.recv(&mut message).unwrap();
    assert_eq!(&message[..length], b"READY=1");
    std::fs::remove_file(&notify).unwrap();
    child
}
