//! A maker of TPMs: a CA of its own, by which swtpm's tools certify endorsement keys.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::layout::{Layout, text};

/// A maker, in a folder.
#[derive(Clone, Debug)]
pub struct Maker {
    folder: PathBuf,
}

impl Maker {
    /// A maker that nobody trusts yet.
    pub fn new(layout: &Layout, name: &str) -> Result<Self> {
        let folder = layout.path(name);
        fs::create_dir_all(&folder)?;
        let maker = Self { folder };
        let path = |name: &str| text(&maker.folder.join(name));
        let made = Command::new("openssl")
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            ])
            .args(["-subj", "/CN=A maker of TPMs"])
            .args(["-addext", "keyUsage=critical,keyCertSign"])
            .args(["-keyout", &path("key.pem")?, "-out", &path("ca.pem")?])
            .output()
            .context("openssl is not installed; run `cargo xtask setup`")?;
        ensure!(made.status.success(), "openssl made no CA");
        let ca = format!(
            "statedir = {}\nsigningkey = {}\nissuercert = {}\ncertserial = {}\n",
            text(&maker.folder)?,
            path("key.pem")?,
            path("ca.pem")?,
            path("serial")?,
        );
        fs::write(path("ca.conf")?, ca)?;
        let platform =
            "--platform-manufacturer Tests\n--platform-version 1\n--platform-model Board\n";
        fs::write(path("ca.options")?, platform)?;
        let setup = format!(
            "create_certs_tool = /usr/bin/swtpm_localca\ncreate_certs_tool_config = {}\ncreate_certs_tool_options = {}\n",
            path("ca.conf")?,
            path("ca.options")?,
        );
        fs::write(path("setup.conf")?, setup)?;
        Ok(maker)
    }

    /// Its CA certificate, PEM.
    pub fn certificate(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.join("ca.pem"))?)
    }

    /// Makes the state of a TPM.
    pub(crate) fn make(&self, state: &Path) -> Result<()> {
        fs::create_dir(state)?;
        let made = Command::new("swtpm_setup")
            .args(["--tpm2", "--pcr-banks", "sha256,sha384", "--create-ek-cert"])
            .arg("--config")
            .arg(self.folder.join("setup.conf"))
            .arg("--tpmstate")
            .arg(state)
            .output()
            .context("swtpm_setup is not installed; run `cargo xtask setup`")?;
        let said = String::from_utf8_lossy(&made.stderr);
        ensure!(made.status.success(), "swtpm_setup: {said}");
        Ok(())
    }
}
