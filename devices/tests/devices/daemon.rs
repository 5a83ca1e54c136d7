//! The daemon under test.

use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use bartizan_local::attachment::{AttachVsock, Attached, MAX_FRAME, Service};
use bartizan_local::{read_frame, send_with_descriptors, write_frame};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tempfile::TempDir;

/// Nothing here takes longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A running daemon, killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) directory: TempDir,
}

impl Daemon {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let child = spawn(&directory);
        Self { child, directory }
    }

    /// kill -9, and another one in its place.
    pub(crate) fn replace(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(&self.directory);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn control(&self) -> UnixStream {
        let control = UnixStream::connect(self.path("control.sock")).unwrap();
        control.set_read_timeout(Some(DEADLINE)).unwrap();
        control
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
        let pid = self.pid().as_raw_nonzero();
        let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
        call.split(' ').next()?.parse().ok()
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

/// Sends an attachment with descriptors; returns the answer.
pub(crate) fn attach(
    control: &UnixStream,
    wish: &AttachVsock,
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

pub(crate) fn wish(cid: u32, services: &[(u32, PathBuf)]) -> AttachVsock {
    let service = |(port, path): &(u32, PathBuf)| Service {
        port: *port,
        socket: path.to_str().unwrap().to_owned(),
    };
    AttachVsock {
        cid,
        services: services.iter().map(service).collect(),
    }
}

/// Starts the daemon and waits until it is ready.
fn spawn(directory: &TempDir) -> Child {
    let config = directory.path().join("devices.yaml");
    let socket = directory.path().join("control.sock");
    let uid = rustix::process::getuid().as_raw();
    let text = format!(
        "control_socket: {}\nallowed_uids: [{uid}]\nconnections_per_guest: 16\n",
        socket.display()
    );
    std::fs::write(&config, text).unwrap();
    let notify = directory.path().join("notify.sock");
    let ready = UnixDatagram::bind(&notify).unwrap();
    ready
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_bartizan-devices"))
        .arg("--config")
        .arg(&config)
        .env("NOTIFY_SOCKET", &notify)
        .spawn()
        .unwrap();
    let mut message = [0; 16];
    // No answer in time: the daemon did not get ready.
    let length = ready.recv(&mut message).unwrap();
    assert_eq!(&message[..length], b"READY=1");
    std::fs::remove_file(&notify).unwrap();
    child
}
