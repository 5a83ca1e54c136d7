//! What a guest keeps of its enrolment, in a folder on a file system that does not outlive the boot.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bartizan_attestation::cbor;
use bartizan_attestation::certificates::{ChainError, Lineage, LinkedCa};
use bartizan_attestation::csr::{EphemeralKey, KeyError};
use bartizan_attestation::identity::GuestIdentity;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::anchor::{Anchor, AnchorError};
use crate::attestation::unix_now;
use crate::certificate::{GuestCertificate, Validity};

const KEY: &str = "key.pk8";
/// The key of a renewal that is under way.
const NEXT: &str = "next.pk8";
const LOCK: &str = "renewal.lock";
const DOCUMENT: &str = "enrollment.json";

/// An enrolled guest: its key, its name, and the fleet CA that it trusts.
pub struct Enrollment {
    pub(crate) key: EphemeralKey,
    pub(crate) guest: GuestIdentity,
    pub(crate) anchored: LinkedCa,
    /// Its certificate chain: goes into each request, so that a report can be checked offline.
    pub(crate) chain: Vec<Vec<u8>>,
    validity: Validity,
    document: Document,
}

#[derive(Serialize, Deserialize)]
struct Document {
    guest: String,
    fleet_ca: String,
    /// The fleet's CAs, CBOR.
    fleet_cas: String,
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
    /// Key and certificate are of different enrolments.
    #[error(
        "{KEY} is not the key of the certificate in {DOCUMENT}; reboot the guest to enrol anew"
    )]
    OtherKey,
    /// The certificate is for another guest than the document says.
    #[error("{DOCUMENT} names another guest than its certificate; reboot the guest to enrol anew")]
    OtherGuest,
    /// The certificate has expired.
    #[error(
        "the certificate of this guest's key has expired; reboot the guest to enrol anew, and have `bartizan-guest renew --watch` run from then on"
    )]
    Expired,
    /// The certificate is not valid yet, as far as this guest knows.
    #[error(
        "the certificate of this guest's key is not valid yet by this guest's clock, which is behind the host's; set it right"
    )]
    NotYetValid,
    /// The certificate does not lead to the anchored fleet CA, or is for something else.
    #[error("the certificate in {DOCUMENT} is not valid: {0}; reboot the guest to enrol anew")]
    Chain(ChainError),
    /// The key is damaged.
    #[error("{KEY} is damaged: {0}; reboot the guest to enrol anew")]
    Key(#[from] KeyError),
    /// The fleet CA is not the anchored one.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
}

impl StateError {
    fn chain(error: ChainError) -> Self {
        match error {
            ChainError::Expired => Self::Expired,
            ChainError::NotYetValid => Self::NotYetValid,
            other => Self::Chain(other),
        }
    }
}

impl Enrollment {
    pub(crate) fn new(
        key: EphemeralKey,
        anchored: LinkedCa,
        certificate: GuestCertificate,
    ) -> Self {
        let GuestCertificate {
            guest,
            validity,
            chain,
            ..
        } = certificate;
        let document = Document {
            guest: guest.to_string(),
            fleet_ca: hex::encode(anchored.ca().der()),
            fleet_cas: hex::encode(cbor::encode(&**anchored.lineage())),
            chain: chain.iter().map(hex::encode).collect(),
        };
        Self {
            key,
            guest,
            anchored,
            chain,
            validity,
            document,
        }
    }

    /// The enrolled identity.
    #[must_use]
    pub const fn guest(&self) -> GuestIdentity {
        self.guest
    }

    /// When the key's certificate is valid.
    #[must_use]
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// Reads the enrolment back and verifies it: the certificate leads to the fleet CA that this guest's anchor pins, is
    /// valid now, of the key, and for the guest that the document names.
    pub fn load(folder: &Path) -> Result<Self, StateError> {
        Self::load_under(&Anchor::of_this_guest()?, folder)
    }

    fn load_under(anchor: &Anchor, folder: &Path) -> Result<Self, StateError> {
        // A renewal may change both files while they are read; it does so once in a long while.
        match Self::read(anchor, folder)? {
            Some(enrollment) => Ok(enrollment),
            None => Self::read(anchor, folder)?.ok_or(StateError::OtherKey),
        }
    }

    /// `None` where no key in the folder is the certificate's.
    fn read(anchor: &Anchor, folder: &Path) -> Result<Option<Self>, StateError> {
        let damaged = |error: &dyn std::fmt::Display| StateError::Damaged(error.to_string());
        let document: Document = serde_json::from_slice(&read(&folder.join(DOCUMENT))?)
            .map_err(|error| damaged(&error))?;
        let fleet_ca = hex::decode(&document.fleet_ca).map_err(|error| damaged(&error))?;
        let fleet_cas = hex::decode(&document.fleet_cas).map_err(|error| damaged(&error))?;
        let lineage: Lineage = cbor::decode_strict(&fleet_cas).map_err(|error| damaged(&error))?;
        let anchored = LinkedCa::new(&anchor.check(&fleet_ca)?, lineage);
        let anchored = anchored.map_err(AnchorError::from)?;
        let chain = document
            .chain
            .iter()
            .map(hex::decode)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| damaged(&error))?;
        let guest: GuestIdentity = document.guest.parse().map_err(|error| damaged(&error))?;
        let certificate = GuestCertificate::verify(chain, anchored.ca(), unix_now())
            .map_err(StateError::chain)?;
        if certificate.guest != guest {
            return Err(StateError::OtherGuest);
        }
        // The next key is the certificate's where a renewal was killed before it could rename it.
        let mut candidates = vec![read_key(&folder.join(KEY))?];
        candidates.extend(next_key(folder)?);
        let is_certified = |key: &EphemeralKey| key.public_key() == certificate.key;
        let key = candidates.into_iter().find(is_certified);
        Ok(key.map(|key| Self::new(key, anchored, certificate)))
    }

    /// Keeps the enrolment in a folder, readable by its owner only.
    pub fn store(&self, folder: &Path) -> Result<(), StateError> {
        write(&folder.join(KEY), self.key.pkcs8_der())?;
        self.store_document(folder)
    }

    fn store_document(&self, folder: &Path) -> Result<(), StateError> {
        let document = serde_json::to_vec_pretty(&self.document)
            .map_err(|error| StateError::Damaged(error.to_string()))?;
        write(&folder.join(DOCUMENT), &document)
    }
}

/// A renewal under way: one at a time in a folder.
pub(crate) struct Renewing {
    /// What is enrolled.
    pub(crate) enrolled: Enrollment,
    /// The key that shall be; on disk already.
    pub(crate) key: EphemeralKey,
    folder: PathBuf,
    _lock: File,
}

impl Renewing {
    /// Waits for other renewals; takes up the key of one that did not finish.
    pub(crate) fn begin(folder: &Path) -> Result<Self, StateError> {
        Self::begin_under(&Anchor::of_this_guest()?, folder)
    }

    fn begin_under(anchor: &Anchor, folder: &Path) -> Result<Self, StateError> {
        let path = folder.join(LOCK);
        let lock = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .and_then(|file| file.lock().map(|()| file))
            .map_err(|source| StateError::File { path, source })?;
        let enrolled = Enrollment::load_under(anchor, folder)?;
        let is_enrolled = |key: &EphemeralKey| key.public_key() == enrolled.key.public_key();
        let key = match next_key(folder)? {
            Some(key) if is_enrolled(&key) => {
                rename_next(folder)?;
                None
            }
            other => other,
        };
        let key = match key {
            Some(key) => key,
            None => {
                let key = EphemeralKey::generate()?;
                write(&folder.join(NEXT), key.pkcs8_der())?;
                key
            }
        };
        Ok(Self {
            enrolled,
            key,
            folder: folder.into(),
            _lock: lock,
        })
    }

    /// Keeps the new key with its chain: first the chain, then the key in the former one's place. Between the two,
    /// [`Enrollment::load`] finds the key where it is.
    pub(crate) fn finish(
        self,
        certificate: GuestCertificate,
        anchored: LinkedCa,
    ) -> Result<Enrollment, StateError> {
        let renewed = Enrollment::new(self.key, anchored, certificate);
        renewed.store_document(&self.folder)?;
        rename_next(&self.folder)?;
        Ok(renewed)
    }
}

fn rename_next(folder: &Path) -> Result<(), StateError> {
    let path = folder.join(NEXT);
    fs::rename(&path, folder.join(KEY)).map_err(|source| StateError::File { path, source })
}

/// The key of a renewal that did not finish.
fn next_key(folder: &Path) -> Result<Option<EphemeralKey>, StateError> {
    match read_key(&folder.join(NEXT)) {
        Err(StateError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(None)
        }
        key => key.map(Some),
    }
}

fn read_key(path: &Path) -> Result<EphemeralKey, StateError> {
    let pkcs8 = Zeroizing::new(read(path)?);
    Ok(EphemeralKey::from_pkcs8_der(&pkcs8)?)
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

#[cfg(test)]
mod tests;
