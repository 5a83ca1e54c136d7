//! Devices that hold a vault's keys: a TPM (swtpm) and a PKCS #11 token (SoftHSM2), each as processes and files of their own.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bartizan_attestation::boot::{Bank, FirmwareLog};
use serde_json::{Value, json};

use crate::accounts::Account;
use crate::layout::text;
use crate::maker::Maker;

/// How long swtpm may take to listen.
const DEADLINE: Duration = Duration::from_secs(20);

/// A TPM in a folder. Ended when dropped.
#[derive(Debug)]
pub struct Tpm {
    state: PathBuf,
    port: u16,
    process: Child,
}

impl Tpm {
    /// A TPM that was just made.
    pub fn new(state: &Path, maker: &Maker) -> Result<Self> {
        maker.make(state)?;
        let port = free_ports();
        Ok(Self {
            state: state.into(),
            port,
            process: serve(state, port, AT_ONCE)?,
        })
    }

    /// What a vault's configuration says of it.
    #[must_use]
    pub fn sealing(&self) -> Value {
        json!({ "tpm2": { "tcti": self.tcti() } })
    }

    /// What a vault's configuration says of it, where these PCRs are quoted beside the registers.
    #[must_use]
    pub fn quoting(&self, pcrs: &[u8]) -> Value {
        json!({ "tpm2": { "tcti": self.tcti(), "quoted_pcrs": pcrs } })
    }

    /// Measures into it as the firmware that wrote a log did. Nobody may be connected.
    pub fn measure(&self, log: &FirmwareLog<'_>) -> Result<()> {
        run(Command::new("tpm2_startup").args(["-T", &self.tcti(), "-c"]))?;
        let events = log.events().iter();
        for event in events.filter(|event| event.event_type.is_extended()) {
            let mut digests = Vec::new();
            for bank in Bank::ALL {
                let digest = event.digest(bank).context("a digest of each bank")?;
                digests.push(format!("{}={}", bank.name(), hex::encode(digest)));
            }
            let extension = format!("{}:{}", event.pcr, digests.join(","));
            run(Command::new("tpm2_pcrextend").args(["-T", &self.tcti(), &extension]))?;
        }
        Ok(())
    }

    /// The way to it.
    #[must_use]
    pub fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    /// Ends it at once, as a crash would: what it had not stored is lost, its registers are.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Ends its process alone: what it held is kept for [`Tpm::resume`], registers included.
    pub fn suspend(&mut self) -> Result<()> {
        self.control(&["--save", "volatile", &text(&self.volatile())?])?;
        self.kill()
    }

    /// Starts its process again, and the TPM goes on where it was.
    pub fn resume(&mut self) -> Result<()> {
        self.process = serve(&self.state, self.port, &[])?;
        self.control(&["--load", "volatile", &text(&self.volatile())?])?;
        self.control(&["-i"])
    }

    fn volatile(&self) -> PathBuf {
        self.state.join("volatile")
    }

    fn control(&self, arguments: &[&str]) -> Result<()> {
        let channel = format!("127.0.0.1:{}", self.port + 1);
        let mut control = Command::new("swtpm_ioctl");
        run(control.args(["--tcp", &channel]).args(arguments))
    }

    /// Starts it again, as a reboot of the machine does.
    pub fn start_again(&mut self) -> Result<()> {
        self.process = serve(&self.state, self.port, AT_ONCE)?;
        Ok(())
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.kill();
    }
}

/// A token of SoftHSM's, of one user.
#[derive(Debug)]
pub struct Token {
    folder: PathBuf,
}

impl Token {
    /// Its label.
    pub const LABEL: &'static str = "host";
    /// Its user's PIN.
    pub const PIN: &'static str = "correct-horse";
    /// SoftHSM's module, as Debian has it.
    pub const MODULE: &'static str = "/usr/lib/softhsm/libsofthsm2.so";

    /// A token that was just initialised.
    pub fn new(folder: &Path, owner: Account) -> Result<Self> {
        let token = Self {
            folder: folder.into(),
        };
        fs::create_dir_all(token.tokens())?;
        let settings = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            token.tokens().display()
        );
        fs::write(token.configuration(), settings)?;
        fs::write(token.pin(), format!("{}\n", Self::PIN))?;
        let mut init = Command::new("softhsm2-util");
        init.env("SOFTHSM2_CONF", token.configuration());
        init.args([
            "--init-token",
            "--free",
            "--label",
            Self::LABEL,
            "--so-pin",
            "12345678",
        ]);
        run(init.args(["--pin", Self::PIN]))?;
        fs::set_permissions(token.pin(), Permissions::from_mode(0o600))?;
        give(folder, owner)?;
        Ok(token)
    }

    /// What a vault's configuration says of it.
    pub fn sealing(&self) -> Result<Value> {
        Ok(json!({ "pkcs11": {
            "module": Self::MODULE, "token": Self::LABEL, "pin": { "file": text(&self.pin())? },
            "reads": [text(&self.configuration())?], "writes": [text(&self.tokens())?],
        } }))
    }

    /// What the module must find in the vault's environment.
    pub fn environment(&self) -> Result<String> {
        Ok(format!("SOFTHSM2_CONF={}", text(&self.configuration())?))
    }

    /// The same, as a name and a value.
    pub fn variable(&self) -> Result<(String, String)> {
        Ok(("SOFTHSM2_CONF".into(), text(&self.configuration())?))
    }

    /// Takes it away, as drawing it would.
    pub fn take_away(&self) -> Result<()> {
        Ok(fs::rename(self.tokens(), self.folder.join("away"))?)
    }

    /// Puts it back.
    pub fn put_back(&self) -> Result<()> {
        Ok(fs::rename(self.folder.join("away"), self.tokens())?)
    }

    fn tokens(&self) -> PathBuf {
        self.folder.join("tokens")
    }

    /// Where the module's settings are.
    #[must_use]
    pub fn configuration(&self) -> PathBuf {
        self.folder.join("softhsm2.conf")
    }

    /// The file with its user's PIN.
    #[must_use]
    pub fn pin(&self) -> PathBuf {
        self.folder.join("pin")
    }
}

/// Everything beneath a folder.
fn give(path: &Path, owner: Account) -> Result<()> {
    chown(path, Some(owner.uid), Some(owner.gid))?;
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), owner)?;
        }
    }
    Ok(())
}

/// Whose TPM needs no command to be on.
const AT_ONCE: &[&str] = &["--flags", "not-need-init"];

fn serve(state: &Path, port: u16, flags: &[&str]) -> Result<Child> {
    let process = Command::new("swtpm")
        .args(["socket", "--tpm2"])
        .args(flags)
        .arg("--tpmstate")
        .arg(format!("dir={}", state.display()))
        .arg("--server")
        .arg(format!("type=tcp,port={port},bindaddr=127.0.0.1"))
        .arg("--ctrl")
        .arg(format!("type=tcp,port={},bindaddr=127.0.0.1", port + 1))
        .stdin(Stdio::null())
        .spawn()
        .context("swtpm is not installed; run `cargo xtask setup`")?;
    let began = Instant::now();
    // Its control channel: a connection to the other one would be its only user.
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port + 1)).is_err() {
        ensure!(began.elapsed() < DEADLINE, "swtpm does not listen");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(process)
}

/// Two ports in a row that nobody has, and no client is given by the kernel (`ip_local_port_range` begins at 32768): they are taken
/// again after a kill.
fn free_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let [.., high, low] = std::process::id().to_be_bytes();
        let begin = u16::from_be_bytes([high, low]);
        let pair = begin.wrapping_add(NEXT.fetch_add(1, Ordering::SeqCst));
        let port = 10_000 + pair % 5000 * 2;
        let listen = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        if let (Ok(_), Ok(_)) = (listen(port), listen(port + 1)) {
            return port;
        }
    }
}

fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("{name} is not installed; run `cargo xtask setup`"))?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
