//! The records of all keys, in one file that is replaced as a whole: a crash leaves the old one or the new one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use bartizan_attestation::keys::{Chain, Purpose};
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};

/// Largest file in bytes.
const MAX_FILE: u64 = 4 << 20;

/// All records, and the file that they are kept in.
#[derive(Debug)]
pub struct Keyring {
    path: PathBuf,
    contents: Contents,
}

#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
struct Contents {
    #[n(0)]
    version: u32,
    /// Salt of a passphrase.
    #[n(1)]
    salt: ByteArray<32>,
    #[n(2)]
    records: Vec<Record>,
    #[n(3)]
    fleet_ca: Option<ByteVec>,
}

/// One key.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Record {
    #[n(0)]
    pub(crate) purpose: Purpose,
    /// SHA-256 of its SubjectPublicKeyInfo.
    #[n(1)]
    pub(crate) id: ByteArray<32>,
    /// Its SubjectPublicKeyInfo, DER.
    #[n(5)]
    pub(crate) public: ByteVec,
    /// The back end's.
    #[n(2)]
    pub(crate) blob: ByteVec,
    /// Leaf first; empty until one is installed.
    #[n(3)]
    pub(crate) chain: Chain,
    /// When its certificate ends, seconds since the Unix epoch; then it is dropped.
    #[n(4)]
    pub(crate) not_after: u64,
}

/// The file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// It cannot be read or written.
    #[error("key store {path}: {source}", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is damaged, or of another version.
    #[error("key store {path} is damaged; restore it from a backup", path = .path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
    },
    /// No random numbers.
    #[error("the kernel's random number generator failed")]
    Random,
}

impl Keyring {
    const VERSION: u32 = 1;

    /// Opens a store; an absent file is an empty one.
    pub fn open(path: &Path) -> Result<Self, KeyringError> {
        let failed = |source| KeyringError::File {
            path: path.into(),
            source,
        };
        if !path.try_exists().map_err(failed)? {
            let mut salt = [0; 32];
            SystemRandom::new()
                .fill(&mut salt)
                .map_err(|_| KeyringError::Random)?;
            let contents = Contents {
                version: Self::VERSION,
                salt: salt.into(),
                records: Vec::new(),
                fleet_ca: None,
            };
            let keyring = Self {
                path: path.into(),
                contents,
            };
            keyring.save(&keyring.contents)?;
            return Ok(keyring);
        }
        let damaged = || KeyringError::Damaged { path: path.into() };
        if fs::metadata(path).map_err(failed)?.len() > MAX_FILE {
            return Err(damaged());
        }
        let contents = Self::parse(&fs::read(path).map_err(failed)?).ok_or_else(damaged)?;
        Ok(Self {
            path: path.into(),
            contents,
        })
    }

    /// The salt of a passphrase.
    pub fn salt(&self) -> [u8; 32] {
        *self.contents.salt
    }

    pub(crate) fn records(&self) -> &[Record] {
        &self.contents.records
    }

    /// The newest key of a purpose.
    pub(crate) fn newest(&self, purpose: Purpose) -> Option<&Record> {
        self.contents
            .records
            .iter()
            .rfind(|record| record.purpose == purpose)
    }

    pub(crate) fn fleet_ca(&self) -> Option<&[u8]> {
        self.contents.fleet_ca.as_ref().map(|der| der.as_slice())
    }

    /// Adds a key; drops those whose certificates ended before `now`.
    pub(crate) fn add(&mut self, record: Record, now: u64) -> Result<(), KeyringError> {
        self.change(|contents| {
            contents.records.retain(|record| record.not_after >= now);
            contents.records.push(record);
        })
    }

    /// Keeps the chain of a key that waits for one.
    pub(crate) fn install(
        &mut self,
        id: &[u8; 32],
        chain: &Chain,
        not_after: u64,
    ) -> Result<(), KeyringError> {
        self.change(|contents| {
            for record in contents
                .records
                .iter_mut()
                .filter(|record| *record.id == *id)
            {
                record.chain.clone_from(chain);
                record.not_after = not_after;
            }
        })
    }

    pub(crate) fn set_fleet_ca(&mut self, der: Vec<u8>) -> Result<(), KeyringError> {
        self.change(|contents| contents.fleet_ca = Some(der.into()))
    }

    /// What is in memory changes only once it is on disk.
    fn change(&mut self, change: impl FnOnce(&mut Contents)) -> Result<(), KeyringError> {
        let mut contents = self.contents.clone();
        change(&mut contents);
        self.save(&contents)?;
        self.contents = contents;
        Ok(())
    }

    fn save(&self, contents: &Contents) -> Result<(), KeyringError> {
        let failed = |source| KeyringError::File {
            path: self.path.clone(),
            source,
        };
        let partial = self.path.with_extension("partial");
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)
            .map_err(failed)?;
        file.write_all(&bartizan_local::encode(contents))
            .map_err(failed)?;
        file.sync_all().map_err(failed)?;
        fs::rename(&partial, &self.path).map_err(failed)?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)
    }

    fn parse(bytes: &[u8]) -> Option<Contents> {
        let contents: Contents = bartizan_local::decode(bytes).ok()?;
        (contents.version == Self::VERSION).then_some(contents)
    }
}

#[cfg(test)]
mod tests;
