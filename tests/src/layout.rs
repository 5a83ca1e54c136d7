//! Where the stack's files are: programs for all to execute, one private state folder and one folder of
//! sockets a process.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::accounts::Account;

/// The host's programs, and the library of tracked QEMUs.
const PROGRAMS: &[&str] = &[
    "bartizan",
    "bartizan-launcher",
    "bartizan-vault",
    "bartizan-stage1",
    "bartizan-stage2",
    "bartizan-card",
    "bartizan-devices",
    "bartizan-hypervisor",
    "bartizan-keeper",
    "bartizan-supervisor",
    "bartizan-measurer",
    "bartizan-verifier",
    "libbartizan_tracked.so",
];

/// The stack's folder, or a host's own within it; removed with the last that knows of it.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Holds the whole.
    whole: Arc<TempDir>,
    folder: PathBuf,
    /// The guest's image: `disk.img`, `vmlinuz`, `initrd.img`, `debs/`.
    pub image: PathBuf,
    /// The read-only disk with the guest's programs.
    pub program_disk: PathBuf,
    /// The enclave's `kernel` and `image`.
    pub enclave: PathBuf,
    /// The same of a machine that serves nothing.
    pub rogue_enclave: PathBuf,
    /// The same of a machine whose first process says that it is there.
    pub bare_enclave: PathBuf,
    /// The enclave's own kernel, if it was built.
    pub enclave_kernel: Option<PathBuf>,
    /// Where cargo put the static programs: the launcher, and those that run in guests.
    pub guest_programs: PathBuf,
}

impl Layout {
    /// A fresh folder, with the programs that `cargo xtask` built.
    pub fn new() -> Result<Self> {
        // Not /tmp, which may be memory: disks of guests lie here.
        let folder = tempfile::Builder::new()
            .prefix("bartizan-")
            .tempdir_in("/var/tmp")?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        let layout = Self {
            folder: folder.path().to_owned(),
            whole: Arc::new(folder),
            image: staged("BARTIZAN_GUEST_IMAGE")?,
            program_disk: staged("BARTIZAN_PROGRAM_DISK")?,
            enclave: staged("BARTIZAN_ENCLAVE")?,
            rogue_enclave: staged("BARTIZAN_ROGUE_ENCLAVE")?,
            bare_enclave: staged("BARTIZAN_BARE_ENCLAVE")?,
            enclave_kernel: std::env::var_os("BARTIZAN_ENCLAVE_KERNEL").map(PathBuf::from),
            guest_programs: staged("BARTIZAN_GUEST_PROGRAMS")?,
        };
        let programs = staged("BARTIZAN_PROGRAMS")?;
        fs::create_dir(layout.folder.join("bin"))?;
        for name in PROGRAMS {
            let from = match *name {
                "bartizan-launcher" => layout.guest_programs.join(name),
                name => programs.join(name),
            };
            fs::copy(&from, layout.program(name))
                .with_context(|| format!("{} is not built", from.display()))?;
        }
        Ok(layout)
    }

    /// A folder within this one with the same programs and images, and files of its own.
    pub fn within(&self, name: &str) -> Result<Self> {
        let folder = self.path(name);
        fs::create_dir(&folder)?;
        fs::set_permissions(&folder, Permissions::from_mode(0o755))?;
        Ok(Self {
            folder,
            ..self.clone()
        })
    }

    /// A program of the host.
    pub fn program(&self, name: &str) -> PathBuf {
        self.whole.path().join("bin").join(name)
    }

    /// A folder that only `owner` may enter.
    pub fn state(&self, name: &str, owner: Account) -> Result<PathBuf> {
        self.owned(&format!("state/{name}"), owner, 0o700)
    }

    /// A folder in which `owner` makes sockets that others may find.
    pub fn run(&self, name: &str, owner: Account) -> Result<PathBuf> {
        self.owned(&format!("run/{name}"), owner, 0o755)
    }

    /// A path of the stack's, whoever makes it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The folder of the files that guests start from.
    pub fn images(&self) -> Result<PathBuf> {
        let folder = self.path("images");
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Writes a configuration file that all may read.
    pub fn config(&self, name: &str, yaml: &str) -> Result<String> {
        let path = self.path(name);
        fs::write(&path, yaml)?;
        text(&path)
    }

    fn owned(&self, name: &str, owner: Account, mode: u32) -> Result<PathBuf> {
        let path = self.path(name);
        fs::create_dir_all(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
        chown(&path, Some(owner.uid), Some(owner.gid))?;
        Ok(path)
    }
}

/// A path as text for a configuration.
pub fn text(path: &Path) -> Result<String> {
    Ok(path
        .to_str()
        .context("the stack's paths are UTF-8")?
        .to_owned())
}

fn staged(variable: &str) -> Result<PathBuf> {
    std::env::var_os(variable)
        .map(PathBuf::from)
        .with_context(|| format!("{variable} is not set; run this through `cargo xtask`"))
}
