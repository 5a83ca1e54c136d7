//! Who operates: a folder with a key, its certificate and the fleet CA.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bartizan_attestation::certificates::FleetCa;
use bartizan_attestation::csr::EphemeralKey;
use clap::Args;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject as _};

const KEY: &str = "operator.pk8";
const CERTIFICATE: &str = "operator.pem";
const FLEET_CA: &str = "fleet-ca.pem";

/// Where the operator's credentials are.
#[derive(Args, Clone, Debug)]
pub(crate) struct Credentials {
    /// Folder of the operator's key, certificate and fleet CA.
    #[arg(
        long = "operator",
        env = "BARTIZAN_OPERATOR",
        default_value = "operator"
    )]
    folder: PathBuf,
}

impl Credentials {
    /// Makes a key, if there is none, and returns its certification request (PKCS #10, DER).
    pub(crate) fn request(&self) -> Result<Vec<u8>> {
        fs::create_dir_all(&self.folder)
            .with_context(|| format!("could not make {}", self.folder.display()))?;
        let path = self.folder.join(KEY);
        if !path.exists() {
            let key = EphemeralKey::generate()?;
            write_secret(&path, key.pkcs8_der())?;
        }
        Ok(self.key()?.csr()?)
    }

    /// The key.
    pub(crate) fn key(&self) -> Result<EphemeralKey> {
        let path = self.folder.join(KEY);
        let pkcs8 = fs::read(&path).with_context(|| {
            format!(
                "no operator key at {}; make one with `bartizan operator request`",
                path.display()
            )
        })?;
        Ok(EphemeralKey::from_pkcs8_der(&pkcs8)?)
    }

    /// The certificate chain, leaf first.
    pub(crate) fn chain(&self) -> Result<Vec<Vec<u8>>> {
        let path = self.certificate_path();
        let text = fs::read(&path).with_context(|| {
            format!(
                "no operator certificate at {}; see `bartizan service init --help`",
                path.display()
            )
        })?;
        CertificateDer::pem_slice_iter(&text)
            .map(|certificate| Ok(certificate?.to_vec()))
            .collect::<Result<_, pem::Error>>()
            .with_context(|| format!("{} holds no certificates in PEM", path.display()))
    }

    /// The fleet CA.
    pub(crate) fn fleet_ca(&self) -> Result<FleetCa> {
        read_fleet_ca(&self.fleet_ca_path())
    }

    pub(crate) fn certificate_path(&self) -> PathBuf {
        self.folder.join(CERTIFICATE)
    }

    pub(crate) fn fleet_ca_path(&self) -> PathBuf {
        self.folder.join(FLEET_CA)
    }
}

/// Reads a fleet CA certificate (PEM or DER).
pub(crate) fn read_fleet_ca(path: &Path) -> Result<FleetCa> {
    let bytes = fs::read(path).with_context(|| format!("no fleet CA at {}", path.display()))?;
    FleetCa::from_pem_or_der(&bytes).with_context(|| format!("{} is no fleet CA", path.display()))
}

fn write_secret(path: &Path, bytes: &[u8]) -> Result<()> {
    OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .with_context(|| format!("could not write {}", path.display()))
}
