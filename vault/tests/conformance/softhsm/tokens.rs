//! SoftHSM's tokens: a folder, which can be moved away.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::programs::demand;

/// SoftHSM's module, as Debian has it.
pub(crate) const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
pub(crate) const PIN: &str = "correct-horse";

/// The folder that the tokens are in.
pub(crate) struct Tokens(PathBuf);

/// The file that `SOFTHSM2_CONF` must name.
pub(crate) fn configuration(folder: &Path) -> PathBuf {
    folder.join("softhsm2.conf")
}

impl Tokens {
    pub(crate) fn make(folder: &Path) -> Self {
        let tokens = Self(folder.into());
        fs::create_dir(tokens.folder()).unwrap();
        let text = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            tokens.folder().display()
        );
        fs::write(configuration(folder), text).unwrap();
        fs::write(tokens.pin(), format!("{PIN}\n")).unwrap();
        fs::set_permissions(tokens.pin(), fs::Permissions::from_mode(0o600)).unwrap();
        tokens
    }

    pub(crate) fn add(&self, label: &str) {
        let mut add = Command::new("softhsm2-util");
        add.env("SOFTHSM2_CONF", configuration(&self.0));
        add.args(["--init-token", "--free", "--so-pin", "12345678"]);
        demand(add.args(["--pin", PIN, "--label", label]));
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.0.join("tokens")
    }

    /// A file with the PIN.
    pub(crate) fn pin(&self) -> PathBuf {
        self.0.join("pin")
    }

    pub(crate) fn take_away(&self) {
        fs::rename(self.folder(), self.away()).unwrap();
    }

    pub(crate) fn put_back(&self) {
        fs::rename(self.away(), self.folder()).unwrap();
    }

    fn away(&self) -> PathBuf {
        self.0.join("tokens.away")
    }
}
