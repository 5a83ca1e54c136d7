//! The `pkcs11` back end: SoftHSM's tokens in a folder.

#[path = "softhsm/cases.rs"]
mod cases;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bartizan_vault::backend::Backend;
use bartizan_vault::pkcs11::{Pin, Pkcs11, TokenName};

use crate::programs::demand;
use crate::rig::{Rig, Store};
pub(crate) use cases::CASES;

/// SoftHSM's module, as Debian has it.
pub(crate) const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
pub(crate) const PIN: &str = "correct-horse";

struct SoftHsm(PathBuf);

/// The file that `SOFTHSM2_CONF` must name.
pub(crate) fn configuration(folder: &Path) -> PathBuf {
    folder.join("softhsm2.conf")
}

pub(crate) fn set_up(folder: &Path) -> Box<dyn Rig> {
    let hsm = SoftHsm(folder.into());
    fs::create_dir(hsm.tokens()).unwrap();
    let tokens = hsm.tokens().display().to_string();
    let text =
        format!("directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n");
    fs::write(configuration(folder), text).unwrap();
    for store in [Store::First, Store::Second] {
        demand(
            Command::new("softhsm2-util")
                .args([
                    "--init-token",
                    "--free",
                    "--so-pin",
                    "12345678",
                    "--pin",
                    PIN,
                ])
                .args(["--label", &label(store)]),
        );
    }
    fs::write(hsm.pin(), format!("{PIN}\n")).unwrap();
    fs::set_permissions(hsm.pin(), fs::Permissions::from_mode(0o600)).unwrap();
    Box::new(hsm)
}

pub(crate) fn label(store: Store) -> String {
    format!("vault {store:?}")
}

impl SoftHsm {
    fn tokens(&self) -> PathBuf {
        self.0.join("tokens")
    }

    fn away(&self) -> PathBuf {
        self.0.join("tokens.away")
    }

    fn pin(&self) -> PathBuf {
        self.0.join("pin")
    }
}

impl Rig for SoftHsm {
    fn open(&self, store: Store) -> Arc<dyn Backend> {
        let token = TokenName {
            module: MODULE.into(),
            label: label(store),
            serial: None,
        };
        let backend = Pkcs11::open(token, Pin::from_file(&self.pin()).unwrap()).unwrap();
        backend.make_store_key().unwrap();
        Arc::new(backend)
    }

    fn has_device(&self) -> bool {
        true
    }

    fn keeps_keys(&self) -> bool {
        true
    }

    fn take_away(&self) {
        fs::rename(self.tokens(), self.away()).unwrap();
    }

    fn put_back(&self) {
        fs::rename(self.away(), self.tokens()).unwrap();
    }
}
