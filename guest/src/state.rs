//! What a guest keeps of its enrolment, in a folder on a file system that does not outlive the boot.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bartizan_attestation::certificates::FleetCa;
use bartizan_attestation::csr::{EphemeralKey, KeyError};
use bartizan_attestation::identity::GuestIdentity;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::anchor::{Anchor, AnchorError};

const KEY: &str = "key.pk8";
const DOCUMENT: &str = "enrollment.json";

/// An enrolled guest: its key, its name, and the fleet CA that it trusts.
pub struct Enrollment {
    pub(crate) key: EphemeralKey,
    pub(crate) guest: GuestIdentity,
    pub(crate) fleet_ca: FleetCa,
    /// Its certificate chain: goes into each request, so that a report can be checked offline.
    pub(crate) chain: Vec<Vec<u8>>,
    document: Document,
}

#[derive(Serialize, Deserialize)]
struct Document {
    guest: String,
    fleet_ca: String,
    chain: Vec<String>,
}

/// The enrolment could not be kept or read back.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file failed.
    #[error("{path}: {source}; enrol with `bartizan-guest enroll`", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The document is damaged.
    #[error("{DOCUMENT} is damaged: {0}; reboot the guest to enrol anew")]
    Damaged(String),
    /// The key is damaged.
    #[error("{KEY} is damaged: {0}; reboot the guest to enrol anew")]
    Key(#[from] KeyError),
    /// The fleet CA is not the anchored one.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
}

impl Enrollment {
    pub(crate) fn new(
        key: EphemeralKey,
        guest: GuestIdentity,
        fleet_ca: FleetCa,
        chain: &[Vec<u8>],
    ) -> Self {
        let document = Document {
            guest: guest.to_string(),
            fleet_ca: hex::encode(fleet_ca.der()),
            chain: chain.iter().map(hex::encode).collect(),
        };
        Self {
            key,
            guest,
            fleet_ca,
            chain: chain.to_vec(),
            document,
        }
    }

    /// The enrolled identity.
    #[must_use]
    pub const fn guest(&self) -> GuestIdentity {
        self.guest
    }

    /// Reads the enrolment back and checks it against this guest's anchor.
    pub fn load(folder: &Path) -> Result<Self, StateError> {
        let anchor = Anchor::of_this_guest()?;
        let damaged = |error: &dyn std::fmt::Display| StateError::Damaged(error.to_string());
        let document: Document = serde_json::from_slice(&read(&folder.join(DOCUMENT))?)
            .map_err(|error| damaged(&error))?;
        let pkcs8 = Zeroizing::new(read(&folder.join(KEY))?);
        let fleet_ca = hex::decode(&document.fleet_ca).map_err(|error| damaged(&error))?;
        let chain = document
            .chain
            .iter()
            .map(hex::decode)
            .collect::<Result<_, _>>();
        Ok(Self {
            key: EphemeralKey::from_pkcs8_der(&pkcs8)?,
            guest: document.guest.parse().map_err(|error| damaged(&error))?,
            fleet_ca: anchor.check(&fleet_ca)?,
            chain: chain.map_err(|error| damaged(&error))?,
            document,
        })
    }

    /// Keeps the enrolment in a folder, readable by its owner only.
    pub fn store(&self, folder: &Path) -> Result<(), StateError> {
        write(&folder.join(KEY), self.key.pkcs8_der())?;
        let document = serde_json::to_vec_pretty(&self.document)
            .map_err(|error| StateError::Damaged(error.to_string()))?;
        write(&folder.join(DOCUMENT), &document)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, StateError> {
    fs::read(path).map_err(|source| StateError::File {
        path: path.into(),
        source,
    })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let partial = path.with_extension("partial");
    let written = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&partial, path));
    written.map_err(|source| StateError::File {
        path: path.into(),
        source,
    })
}
