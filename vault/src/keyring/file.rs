//! The store's file: CBOR {version, salt, contents, seal}, the seal over all before it by the back end's sealing key, which the salt
//! names.
//!
//! The seal is why certificates and the fleet CA in the store can be believed as much as the sealed keys. It does not
//! notice an older, whole store put back: that needs a monotonic counter, which a file has not, and the verifier keeps for it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};

use super::{Contents, Keyring, KeyringError};
use crate::backend::{Backend, BackendError, Generation};

/// Largest file in bytes.
const MAX_FILE: usize = 1 << 20;
/// The format of the file.
const VERSION: u32 = 3;

/// A store as its file has it. Nothing in it is believed before the back end has confirmed the seal.
#[derive(Debug)]
pub struct StoredKeyring {
    path: PathBuf,
    salt: [u8; 32],
    /// None where there is no file yet.
    sealed: Option<Sealed>,
}

#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
struct Sealed {
    #[n(0)]
    version: u32,
    #[n(1)]
    salt: ByteArray<32>,
    /// Deterministic CBOR.
    #[n(2)]
    contents: ByteVec,
    #[n(3)]
    seal: ByteArray<32>,
}

impl StoredKeyring {
    /// Reads a store's file; where there is none, an empty store with a fresh salt.
    pub fn read(path: &Path) -> Result<Self, KeyringError> {
        let failed = |source| KeyringError::File {
            path: path.into(),
            source,
        };
        if !path.try_exists().map_err(failed)? {
            let mut salt = [0; 32];
            SystemRandom::new()
                .fill(&mut salt)
                .map_err(|_| KeyringError::Random)?;
            return Ok(Self {
                path: path.into(),
                salt,
                sealed: None,
            });
        }
        let damaged = || KeyringError::Damaged { path: path.into() };
        if fs::metadata(path).map_err(failed)?.len() > MAX_FILE as u64 {
            return Err(damaged());
        }
        let bytes = fs::read(path).map_err(failed)?;
        let sealed: Sealed = bartizan_local::decode(&bytes).map_err(|_| damaged())?;
        if sealed.version != VERSION {
            return Err(damaged());
        }
        Ok(Self {
            path: path.into(),
            salt: *sealed.salt,
            sealed: Some(sealed),
        })
    }

    /// The salt of a passphrase, to be had before there is a back end.
    #[must_use]
    pub const fn salt(&self) -> &[u8; 32] {
        &self.salt
    }

    /// Whether it was sealed by this back end.
    pub fn is_sealed_by(&self, backend: &dyn Backend) -> Result<bool, KeyringError> {
        let Some(sealed) = &self.sealed else {
            return Ok(false);
        };
        backend.resume_sealing(Generation(self.salt));
        let by = |store: &[u8]| backend.authenticate(store);
        let expected = seal(&self.salt, &sealed.contents, by)?;
        Ok(verify_slices_are_equal(&expected, &*sealed.seal).is_ok())
    }

    /// Whether there was no file.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.sealed.is_none()
    }

    /// Checks the seal. A new store is written, so that one that cannot be is known at once.
    pub fn open(self, backend: Arc<dyn Backend>) -> Result<Keyring, KeyringError> {
        let altered = self.sealed.is_some() && !self.is_sealed_by(&*backend)?;
        let path = self.path;
        if altered {
            return Err(KeyringError::Altered { path });
        }
        let contents = match self.sealed {
            Some(sealed) => {
                let damaged = |_| KeyringError::Damaged { path: path.clone() };
                bartizan_local::decode(&sealed.contents).map_err(damaged)?
            }
            None => {
                let empty = Contents::default();
                backend.begin_sealing(Generation(self.salt))?;
                let by = |store: &[u8]| backend.authenticate(store);
                save(&path, &self.salt, &empty, by)?;
                empty
            }
        };
        Ok(Keyring {
            path,
            salt: self.salt,
            backend,
            contents,
        })
    }
}

/// Replaces the file durably. `authenticate` makes the tag, by the sealing key that `salt` names.
pub(super) fn save(
    path: &Path,
    salt: &[u8; 32],
    contents: &Contents,
    authenticate: impl Fn(&[u8]) -> Result<[u8; 32], BackendError>,
) -> Result<(), KeyringError> {
    let contents = bartizan_local::encode(contents);
    let seal = seal(salt, &contents, authenticate)?;
    let bytes = bartizan_local::encode(&Sealed {
        version: VERSION,
        salt: (*salt).into(),
        contents: contents.into(),
        seal: seal.into(),
    });
    if bytes.len() > MAX_FILE {
        return Err(KeyringError::Full {
            path: path.into(),
            limit: MAX_FILE,
        });
    }
    replace(path, &bytes).map_err(|source| KeyringError::File {
        path: path.into(),
        source,
    })
}

/// Only whole files ever have the store's name, and the new one is on disk when this returns.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn seal(
    salt: &[u8; 32],
    contents: &[u8],
    authenticate: impl Fn(&[u8]) -> Result<[u8; 32], BackendError>,
) -> Result<[u8; 32], KeyringError> {
    let sealed = [
        b"bartizan-vault store\0".as_slice(),
        &VERSION.to_be_bytes(),
        salt,
        contents,
    ];
    Ok(authenticate(&sealed.concat())?)
}
