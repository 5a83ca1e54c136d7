//! The records of all keys, in one file that is replaced as a whole: a crash leaves the old one or the new one.

mod counter;
mod file;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bartizan_attestation::boot::Part;
use bartizan_attestation::keys::{Chain, Purpose};
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};

use crate::backend::{Backend, BackendError, StoredKey};
use counter::Counter;
pub use file::StoredKeyring;

/// Most keys of one purpose that overlap; a rotation beyond drops the oldest, or is refused where something that it
/// signed may still be in use. Keeps the store, and the answer to `Describe`, small whatever is asked.
pub(crate) const MAX_OVERLAP: usize = 32;

/// All records, and the file that they are kept in.
pub struct Keyring {
    path: PathBuf,
    /// Of a passphrase.
    salt: [u8; 32],
    backend: Arc<dyn Backend>,
    contents: Contents,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(map)]
struct Contents {
    #[n(0)]
    records: Vec<Record>,
    #[n(1)]
    fleet_ca: Option<ByteVec>,
    #[n(2)]
    first_operator: Option<FirstOperator>,
    /// What this host was booted from before.
    #[n(3)]
    releases: Option<Releases>,
    /// By which a copy of this store is noticed.
    #[n(30)]
    counter: Option<Counter>,
}

/// The releases that a host was booted from.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
struct Releases {
    /// SHA-256 of the release key's SubjectPublicKeyInfo.
    #[n(0)]
    signer: ByteArray<32>,
    /// The highest version of the base that ended its phase well.
    #[n(1)]
    base: u64,
    /// Of the bundle.
    #[n(2)]
    bundle: u64,
}

/// The operator that the fleet was begun by.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct FirstOperator {
    #[n(0)]
    pub(crate) name: String,
    /// SHA-256 of its key's SubjectPublicKeyInfo.
    #[n(1)]
    pub(crate) key: ByteArray<32>,
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
    /// The back end's.
    #[n(2)]
    pub(crate) blob: ByteVec,
    /// Leaf first; empty until one is installed.
    #[n(3)]
    pub(crate) chain: Chain,
    /// When its certificate ends, seconds since the Unix epoch; one of a rotated purpose is dropped then.
    #[n(4)]
    pub(crate) not_after: u64,
    /// Its SubjectPublicKeyInfo, DER.
    #[n(5)]
    pub(crate) public: ByteVec,
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
    /// Its seal is not this back end's.
    #[error(
        "key store {path} was altered, or the root key is another one; restore both from one backup",
        path = .path.display()
    )]
    Altered {
        /// Which.
        path: PathBuf,
    },
    /// It would be larger than what is read again.
    #[error("key store {path} would exceed {limit} bytes", path = .path.display())]
    Full {
        /// Which.
        path: PathBuf,
        /// Most bytes.
        limit: usize,
    },
    /// The back end could not seal it.
    #[error("the key store could not be sealed: {0}")]
    Seal(#[from] BackendError),
    /// No random numbers.
    #[error("the kernel's random number generator failed")]
    Random,
    /// One more would drop a key whose results may still be valid.
    #[error("{MAX_OVERLAP} {purpose:?} keys are valid; wait until the oldest has expired")]
    Overlap {
        /// What they are for.
        purpose: Purpose,
    },
}

impl Keyring {
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

    /// Whether one more key of a purpose would be added: asked before it is made and certified.
    pub(crate) fn check_room(&self, purpose: Purpose, now: u64) -> Result<(), KeyringError> {
        self.contents.check_room(purpose, now)
    }

    /// Adds a key. Of those for the same purpose it drops what ended before `now` (never a fleet CA or a card identity),
    /// one that still waits for its certificate, and the oldest beyond [`MAX_OVERLAP`]; a token key is refused there
    /// instead. Keys of other purposes stay as they are.
    pub(crate) fn add(&mut self, record: Record, now: u64) -> Result<(), KeyringError> {
        self.change(|contents| contents.add(record, now))
    }

    /// Adds the fleet CA's key, and its certificate as the fleet's.
    pub(crate) fn add_fleet_ca(
        &mut self,
        record: Record,
        certificate: Vec<u8>,
        now: u64,
    ) -> Result<(), KeyringError> {
        self.change(|contents| {
            contents.add(record, now)?;
            contents.fleet_ca = Some(certificate.into());
            Ok(())
        })
    }

    pub(crate) fn first_operator(&self) -> Option<&FirstOperator> {
        self.contents.first_operator.as_ref()
    }

    /// Keeps who the fleet's first operator is, for ever.
    pub(crate) fn set_first_operator(&mut self, first: FirstOperator) -> Result<(), KeyringError> {
        self.change(|contents| {
            contents.first_operator.get_or_insert(first);
            Ok(())
        })
    }

    /// Keeps the chain of a key, instead of the one that it had, and the fleet CA that it leads to.
    pub(crate) fn install(
        &mut self,
        id: &[u8; 32],
        chain: &Chain,
        not_after: u64,
        fleet_ca: Vec<u8>,
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
            contents.fleet_ca = Some(fleet_ca.into());
            Ok(())
        })
    }

    /// Who signed the releases that this host was booted from, once it was.
    pub(crate) fn release_key(&self) -> Option<[u8; 32]> {
        self.contents
            .releases
            .as_ref()
            .map(|releases| *releases.signer)
    }

    /// The lowest version of a part that is no step back.
    pub(crate) fn lowest_version(&self, part: Part) -> u64 {
        self.contents
            .releases
            .as_ref()
            .map_or(0, |releases| match part {
                Part::Base => releases.base,
                Part::Bundle => releases.bundle,
            })
    }

    /// Keeps that a part of this version was booted: no lower one will be.
    pub(crate) fn settle_release(
        &mut self,
        signer: [u8; 32],
        part: Part,
        version: u64,
    ) -> Result<(), KeyringError> {
        if self.release_key() == Some(signer) && self.lowest_version(part) >= version {
            return Ok(());
        }
        self.change(|contents| {
            let releases = contents.releases.get_or_insert(Releases {
                signer: signer.into(),
                base: 0,
                bundle: 0,
            });
            let lowest = match part {
                Part::Base => &mut releases.base,
                Part::Bundle => &mut releases.bundle,
            };
            *lowest = version.max(*lowest);
            Ok(())
        })
    }

    /// What is in memory changes only once it is on disk.
    fn change(
        &mut self,
        change: impl FnOnce(&mut Contents) -> Result<(), KeyringError>,
    ) -> Result<(), KeyringError> {
        let mut contents = self.contents.clone();
        change(&mut contents)?;
        file::save(&self.path, &self.salt, &contents, &*self.backend)?;
        let old = std::mem::replace(&mut self.contents, contents);
        // After the store was replaced: a crash in between leaves a key that nobody names, never a name without a key.
        for record in &old.records {
            if !self
                .contents
                .records
                .iter()
                .any(|kept| kept.id == record.id)
            {
                self.destroy(record);
            }
        }
        Ok(())
    }

    fn destroy(&self, record: &Record) {
        let (purpose, id) = (record.purpose, hex(&*record.id));
        let key = StoredKey {
            id: &record.id,
            blob: &record.blob,
        };
        match self.backend.destroy(purpose, &key) {
            Ok(()) => tracing::info!(?purpose, id, "key destroyed"),
            Err(error) => tracing::error!(?purpose, id, %error, "a key could not be destroyed"),
        }
    }

    /// Where it is kept.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Contents {
    fn check_room(&self, purpose: Purpose, now: u64) -> Result<(), KeyringError> {
        let stays = |other: &&Record| other.purpose == purpose && !other.gives_way(now);
        let alike = self.records.iter().filter(stays).count();
        // What a TLS key signed has had its use; results are verified by the certificates that are shown.
        if alike >= MAX_OVERLAP && purpose == Purpose::Token {
            return Err(KeyringError::Overlap { purpose });
        }
        Ok(())
    }

    fn add(&mut self, record: Record, now: u64) -> Result<(), KeyringError> {
        let purpose = record.purpose;
        self.check_room(purpose, now)?;
        let same = |other: &Record| other.purpose == purpose;
        (self.records).retain(|other| !(same(other) && other.gives_way(now)));
        let alike = self.records.iter().filter(|other| same(other)).count();
        if alike >= MAX_OVERLAP
            && let Some(oldest) = self.records.iter().position(same)
        {
            self.records.remove(oldest);
        }
        self.records.push(record);
        Ok(())
    }
}

impl Record {
    /// Whether it is dropped when another key of its purpose is added.
    fn gives_way(&self, now: u64) -> bool {
        // A clock that is ahead for a while must not cost a key that is not made again every few hours.
        let short_lived = !matches!(self.purpose, Purpose::FleetCa | Purpose::CardIdentity);
        self.chain.is_empty() || (short_lived && self.not_after < now)
    }
}

#[cfg(test)]
mod tests;
