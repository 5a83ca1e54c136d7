//! Who operates: a folder with a key, its certificate and the fleet CA.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bartizan_attestation::certificates::FleetCa;
use bartizan_attestation::csr::{EphemeralKey, KeyError};
use clap::Args;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject as _};
use zeroize::Zeroizing;

use crate::fleet_ca::read_fleet_ca;

const KEY: &str = "operator.pk8";
const CERTIFICATE: &str = "operator.pem";
const FLEET_CA: &str = "fleet-ca.pem";

/// Largest key file in bytes; a P-384 key in PKCS #8 has some 185.
const MAX_KEY: usize = 4096;

/// There is no usable operator key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFileError {
    /// It cannot be read.
    #[error("no operator key at {path}: {source}; make one with `bartizan operator request`", path = .path.display())]
    File {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may read or write it.
    #[error("operator key {path} is open to others (mode {mode:o}); `chmod 600 {path}`, and if others are on this machine, make a new one", path = .path.display())]
    Exposed {
        /// Where.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is no key.
    #[error("{path} is no operator key: {source}; make one with `bartizan operator request` in another folder", path = .path.display())]
    Malformed {
        /// Where.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
}

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
        Ok(read_key(&self.folder.join(KEY))?)
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

pub(crate) fn read_key(path: &Path) -> Result<EphemeralKey, KeyFileError> {
    let failed = |source| KeyFileError::File {
        path: path.into(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed {
            path: path.into(),
            mode,
        });
    }
    // Of its full size from the start: a buffer that grows leaves copies behind.
    let mut pkcs8 = Zeroizing::new(Vec::with_capacity(MAX_KEY));
    file.take(MAX_KEY as u64)
        .read_to_end(&mut pkcs8)
        .map_err(failed)?;
    EphemeralKey::from_pkcs8_der(&pkcs8).map_err(|source| KeyFileError::Malformed {
        path: path.into(),
        source,
    })
}

pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> Result<()> {
    OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .with_context(|| format!("could not write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_file(mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEY);
        write_secret(&path, EphemeralKey::generate().unwrap().pkcs8_der()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn a_key_that_others_may_read_is_refused_with_what_mends_it() {
        for mode in [0o640, 0o604, 0o620, 0o601] {
            let (_folder, path) = key_file(mode);
            let refused = read_key(&path).err().unwrap();
            assert!(matches!(refused, KeyFileError::Exposed { mode: found, .. } if found == mode));
            let mends = format!("chmod 600 {}", path.display());
            assert!(refused.to_string().contains(&mends), "{refused}");
        }
        for mode in [0o600, 0o400] {
            let (_folder, path) = key_file(mode);
            read_key(&path).map(drop).unwrap();
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let (_folder, path) = key_file(0o600);
        fs::write(&path, vec![0; 2 * MAX_KEY]).unwrap();
        assert!(matches!(
            read_key(&path),
            Err(KeyFileError::Malformed { .. })
        ));
        fs::remove_file(&path).unwrap();
        assert!(matches!(read_key(&path), Err(KeyFileError::File { .. })));
    }
}
