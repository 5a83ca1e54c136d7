//! The records of all keys, in one file that is replaced as a whole: a crash leaves the old one or the new one.

mod counter;
mod enclave_state;
mod file;
mod fleet_cas;
mod history;
mod sealing;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bartizan_attestation::boot::Part;
use bartizan_attestation::certificates::FormerFleetCa;
use bartizan_attestation::digest::sha256;
use bartizan_attestation::keys::{Chain, KeyEvent, KeyEventKind, KeyKind, Purpose};
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};

use crate::backend::{Backend, BackendError, StoredKey};
use counter::Counter;
pub use file::StoredKeyring;
use history::History;

/// Most keys that wait for a back end that does not destroy them.
const MAX_DOOMED: usize = 64;
/// Most keys of one purpose that overlap; a rotation beyond drops the oldest, or is refused where something that it
/// signed may still be in use. Keeps the store, and the answer to `Describe`, small whatever is asked.
pub(crate) const MAX_OVERLAP: usize = 32;

/// All records, and the file that they are kept in.
pub struct Keyring {
    path: PathBuf,
    /// Names the sealing key; of a passphrase it is the salt.
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
    #[n(20)]
    history: Option<History>,
    /// Keys that are to be destroyed, and were not yet: no record names them any more. None where there are none.
    #[n(21)]
    doomed: Option<Vec<Record>>,
    /// When the sealing key was made, in seconds since the Unix epoch; none of the first one of a store.
    #[n(22)]
    sealing_made_s: Option<u64>,
    /// By which a copy of this store is noticed.
    #[n(30)]
    counter: Option<Counter>,
    /// The fleet CAs before the one that is known, the oldest first. None where there are none.
    #[n(40)]
    former: Option<Vec<FormerFleetCa>>,
    /// Of the host's enclave; none before it was first asked for.
    #[n(80)]
    enclave_state: Option<enclave_state::Kept>,
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
    /// The secret of the enclave's state was sealed by another key, or there is no randomness to seal it.
    #[error("the secret of the enclave's state can be neither opened nor sealed")]
    EnclaveState,
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

    /// The card identity key that is in use: the newest that has its certificate.
    pub(crate) fn identity(&self) -> Option<&Record> {
        self.identities().rfind(|record| !record.chain.is_empty())
    }

    /// The card identity key that waits to succeed the one in use.
    pub(crate) fn successor(&self) -> Option<&Record> {
        self.identity()?;
        self.identities().rfind(|record| record.chain.is_empty())
    }

    fn identities(&self) -> impl DoubleEndedIterator<Item = &Record> {
        let records = self.contents.records.iter();
        records.filter(|record| record.purpose == Purpose::CardIdentity)
    }

    pub(crate) fn fleet_ca(&self) -> Option<&[u8]> {
        self.contents.fleet_ca.as_ref().map(|der| der.as_slice())
    }

    /// Whether one more key of a purpose would be added: asked before it is made and certified.
    pub(crate) fn check_room(&self, purpose: Purpose, now: u64) -> Result<(), KeyringError> {
        self.contents.check_room(purpose, now)
    }

    /// What became of the keys, the oldest first.
    pub(crate) fn history(&self) -> &[KeyEvent] {
        self.contents.history.as_ref().map_or(&[], History::events)
    }

    /// Writes down that somebody else's key was certified.
    pub(crate) fn note_certified(
        &mut self,
        kind: KeyKind,
        id: [u8; 32],
        certificate: &[u8],
        not_after: u64,
        now: u64,
    ) -> Result<(), KeyringError> {
        let what = certified(certificate, not_after);
        self.change(now, |contents| {
            contents.note(now, kind, id, what);
            Ok(())
        })
    }

    /// Drops a key of a purpose before its end, and destroys it; whether there was one.
    pub(crate) fn revoke(
        &mut self,
        purpose: Purpose,
        id: &[u8; 32],
        now: u64,
    ) -> Result<bool, KeyringError> {
        let is_it = |record: &Record| record.purpose == purpose && *record.id == *id;
        if !self.records().iter().any(is_it) {
            return Ok(false);
        }
        self.change(now, |contents| {
            contents.note(now, purpose.into(), *id, KeyEventKind::Revoked);
            contents.records.retain(|record| !is_it(record));
            Ok(())
        })?;
        Ok(true)
    }

    /// Adds a key. Of those for the same purpose it drops what ended before `now` (never a fleet CA or a card identity),
    /// one that still waits for its certificate, and the oldest beyond [`MAX_OVERLAP`]; a token key is refused there
    /// instead. Keys of other purposes stay as they are.
    pub(crate) fn add(&mut self, record: Record, now: u64) -> Result<(), KeyringError> {
        self.change(now, |contents| contents.add(record, now))
    }

    /// Adds a card identity key that is to succeed the one in use, which stays that until the other has its certificate.
    pub(crate) fn add_successor(&mut self, record: Record, now: u64) -> Result<(), KeyringError> {
        self.change(now, |contents| {
            contents.note(now, record.purpose.into(), *record.id, KeyEventKind::Made);
            contents.records.push(record);
            Ok(())
        })
    }

    /// Adds the fleet CA's key, and its certificate as the fleet's.
    pub(crate) fn add_fleet_ca(
        &mut self,
        record: Record,
        certificate: Vec<u8>,
        now: u64,
    ) -> Result<(), KeyringError> {
        self.change(now, |contents| {
            contents.add(record, now)?;
            contents.fleet_ca = Some(certificate.into());
            Ok(())
        })
    }

    pub(crate) fn first_operator(&self) -> Option<&FirstOperator> {
        self.contents.first_operator.as_ref()
    }

    /// Keeps who the fleet's first operator is, for ever.
    pub(crate) fn set_first_operator(
        &mut self,
        first: FirstOperator,
        now: u64,
    ) -> Result<(), KeyringError> {
        self.change(now, |contents| {
            contents.first_operator.get_or_insert(first);
            Ok(())
        })
    }

    /// Keeps the chain of a key, instead of the one that it had, and the fleet CA that it leads to. The card identity key that it
    /// succeeds is dropped, and destroyed.
    pub(crate) fn install(
        &mut self,
        id: &[u8; 32],
        chain: &Chain,
        not_after: u64,
        fleet_ca: Vec<u8>,
        now: u64,
    ) -> Result<(), KeyringError> {
        self.change(now, |contents| {
            let mut certified_kinds = Vec::new();
            for record in contents
                .records
                .iter_mut()
                .filter(|record| *record.id == *id)
            {
                record.chain.clone_from(chain);
                record.not_after = not_after;
                certified_kinds.push(record.purpose.into());
            }
            if let Some(leaf) = chain.first() {
                for kind in certified_kinds {
                    contents.note(now, kind, *id, certified(leaf, not_after));
                }
            }
            contents.drop_succeeded(id, now);
            // Another's former CAs are none of this one's.
            if contents.fleet_ca.as_deref() != Some(&fleet_ca) {
                contents.former = None;
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
        let mut contents = self.contents.clone();
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
        self.replace(contents)
    }

    /// What is in memory changes only once it is on disk. What no record names any more is destroyed then, and that is written down.
    fn change(
        &mut self,
        now: u64,
        change: impl FnOnce(&mut Contents) -> Result<(), KeyringError>,
    ) -> Result<(), KeyringError> {
        let mut contents = self.contents.clone();
        change(&mut contents)?;
        contents.doom(&self.contents.records, now);
        self.replace(contents)?;
        self.destroy_doomed(now);
        Ok(())
    }

    fn replace(&mut self, contents: Contents) -> Result<(), KeyringError> {
        let by = |store: &[u8]| self.backend.authenticate(store);
        file::save(&self.path, &self.salt, &contents, by)?;
        self.contents = contents;
        Ok(())
    }

    /// After the store was replaced, which names them as to be destroyed: a crash in between loses none of them.
    fn destroy_doomed(&mut self, now: u64) {
        let Some(doomed) = self.contents.doomed.clone() else {
            return;
        };
        let mut contents = self.contents.clone();
        let mut left = Vec::new();
        for record in doomed {
            let (kind, id) = (record.purpose.into(), *record.id);
            match self.destroy(&record) {
                Ok(()) => contents.note(now, kind, id, KeyEventKind::Destroyed),
                Err(error) => {
                    let what = KeyEventKind::not_destroyed(&error);
                    // Said once, however often it is tried.
                    if !contents.said(kind, &id, what.word()) {
                        contents.note(now, kind, id, what);
                    }
                    left.push(record);
                }
            }
        }
        contents.doomed = Some(left).filter(|left| !left.is_empty());
        if contents == self.contents {
            return;
        }
        if let Err(error) = self.replace(contents) {
            tracing::error!(%error, "that keys were destroyed is not written down; they are destroyed once more later");
        }
    }

    fn destroy(&self, record: &Record) -> Result<(), BackendError> {
        let (purpose, id) = (record.purpose, hex(&*record.id));
        let destroyed = self.backend.destroy(purpose, &record.stored());
        match &destroyed {
            Ok(()) => tracing::info!(?purpose, id, "key destroyed"),
            Err(error) => tracing::error!(?purpose, id, %error, "a key could not be destroyed"),
        }
        destroyed
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
        let (kind, id) = (purpose.into(), *record.id);
        if let Some(former) = self.records.iter().rfind(|other| same(other)) {
            let (former, by) = (*former.id, id.into());
            self.note(now, kind, former, KeyEventKind::Superseded { by });
        }
        self.note(now, kind, id, KeyEventKind::Made);
        if let Some(leaf) = record.chain.first() {
            self.note(now, kind, id, certified(leaf, record.not_after));
        }
        self.records.push(record);
        Ok(())
    }

    /// Drops the card identity keys that this one came after.
    fn drop_succeeded(&mut self, by: &[u8; 32], now: u64) {
        let is_identity = |record: &Record| record.purpose == Purpose::CardIdentity;
        if !(self.records.iter()).any(|record| is_identity(record) && *record.id == *by) {
            return;
        }
        let former = |record: &mut Record| is_identity(record) && *record.id != *by;
        for former in self.records.extract_if(.., former).collect::<Vec<_>>() {
            let by = (*by).into();
            let what = KeyEventKind::Superseded { by };
            self.note(now, KeyKind::Card, *former.id, what);
        }
    }

    fn note(&mut self, now: u64, kind: KeyKind, id: [u8; 32], what: KeyEventKind) {
        let history = self.history.get_or_insert_default();
        history.note(now, kind, id, what);
    }

    /// Whether that is the last that was said of a key.
    fn said(&self, kind: KeyKind, id: &[u8; 32], word: &str) -> bool {
        let mut events = self.history.iter().flat_map(History::events);
        let last = events.rfind(|event| event.kind == kind && *event.id == *id);
        last.is_some_and(|event| event.what.word() == word)
    }

    /// Those of `before` that are no more are to be destroyed.
    fn doom(&mut self, before: &[Record], now: u64) {
        let kept = |record: &&Record| self.records.iter().any(|kept| kept.id == record.id);
        let gone: Vec<_> = before.iter().filter(|record| !kept(record)).collect();
        if gone.is_empty() {
            return;
        }
        let mut doomed = self.doomed.take().unwrap_or_default();
        doomed.extend(gone.into_iter().cloned());
        while doomed.len() > MAX_DOOMED {
            let given_up = doomed.remove(0);
            let what = KeyEventKind::not_destroyed(&"given up; see the back end");
            self.note(now, given_up.purpose.into(), *given_up.id, what);
        }
        self.doomed = Some(doomed);
    }
}

fn certified(certificate: &[u8], not_after: u64) -> KeyEventKind {
    KeyEventKind::Certified {
        certificate: sha256(certificate).into(),
        not_after,
    }
}

impl Record {
    /// As the back end takes it.
    pub(crate) fn stored(&self) -> StoredKey<'_> {
        StoredKey {
            id: &self.id,
            blob: &self.blob,
        }
    }

    /// Whether it is dropped when another key of its purpose is added.
    fn gives_way(&self, now: u64) -> bool {
        // A clock that is ahead for a while must not cost a key that is not made again every few hours.
        let short_lived = !matches!(self.purpose, Purpose::FleetCa | Purpose::CardIdentity);
        self.chain.is_empty() || (short_lived && self.not_after < now)
    }
}

#[cfg(test)]
mod tests;
