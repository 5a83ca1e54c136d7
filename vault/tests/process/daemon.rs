//! A vault process and its folder.

use std::fs;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bartizan_attestation::keys::{VaultReply, VaultRequest};
use bartizan_local::{read_frame, write_frame};
use tempfile::TempDir;

/// How long a vault may take for anything, in debug builds on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A vault's folder: configuration, root key, store, socket.
pub(crate) struct Folder(TempDir);

/// A vault that serves. Killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    folder: Option<Folder>,
    socket: PathBuf,
}

impl Folder {
    pub(crate) fn new(role: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let config = format!(
            "socket: {}\nallowed_uids: [{}]\nstore: {}\nsealing: {{ key_file: {} }}\nrole: {role}\n",
            folder.socket().display(),
            rustix::process::getuid().as_raw(),
            folder.store().display(),
            folder.root_key().display(),
        );
        fs::write(folder.config(), config).unwrap();
        folder
    }

    pub(crate) fn configure(&self, change: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(self.config()).unwrap();
        fs::write(self.config(), change(text)).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.0.path().join("keys")
    }

    pub(crate) fn root_key(&self) -> PathBuf {
        self.0.path().join("root.key")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.0.path().join("vault.sock")
    }

    fn config(&self) -> PathBuf {
        self.0.path().join("vault.yaml")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bartizan-vault"));
        command
            .arg("--config")
            .arg(self.config())
            // Of the vaults whose keys are in a token.
            .env("SOFTHSM2_CONF", self.path().join("softhsm2.conf"))
            .env(
                "P11_KIT_SERVER_ADDRESS",
                format!("unix:path={}", self.path().join("token.sock").display()),
            )
            .stderr(Stdio::piped());
        command
    }

    /// Starts a vault that must refuse to serve; its exit code, and what it says.
    pub(crate) fn start_in_vain(&self) -> (Option<i32>, String) {
        let output = self.command().output().unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), said)
    }
}

impl Daemon {
    /// Starts a vault and waits until it says that it serves.
    pub(crate) fn start(folder: Folder) -> Self {
        Self::start_by(folder, |_| (), |_| ())
    }

    /// Starts it by another command, and does something before it is ready.
    pub(crate) fn start_by(
        folder: Folder,
        by: impl FnOnce(&mut Command),
        meanwhile: impl FnOnce(&mut Child),
    ) -> Self {
        let notify = folder.0.path().join("notify.sock");
        let _absent = fs::remove_file(&notify);
        let ready = UnixDatagram::bind(&notify).unwrap();
        ready.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut vault = folder.command();
        vault.env("NOTIFY_SOCKET", &notify).stderr(Stdio::inherit());
        by(&mut vault);
        let child = vault.spawn().unwrap();
        let socket = folder.socket();
        let mut daemon = Self {
            child,
            folder: Some(folder),
            socket,
        };
        meanwhile(&mut daemon.child);
        let mut said = [0; 16];
        let length = ready.recv(&mut said).unwrap();
        assert_eq!(&said[..length], b"READY=1");
        daemon
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn connect(&self) -> UnixStream {
        let link = UnixStream::connect(&self.socket).unwrap();
        link.set_read_timeout(Some(DEADLINE)).unwrap();
        link.set_write_timeout(Some(DEADLINE)).unwrap();
        link
    }

    pub(crate) fn ask(&self, request: &VaultRequest) -> VaultReply {
        let mut link = self.connect();
        write_frame(&mut link, request, VaultRequest::MAX_FRAME).unwrap();
        read_frame(&mut link, VaultRequest::MAX_FRAME).unwrap()
    }

    pub(crate) fn certificates(&self, request: &VaultRequest) -> Vec<Vec<u8>> {
        match self.ask(request) {
            VaultReply::Certificates(chain) => chain.into_iter().map(Into::into).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// Kills it with SIGKILL; its folder stays.
    pub(crate) fn kill(mut self) -> Folder {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.folder.take().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
