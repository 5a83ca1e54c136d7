//! The state of this host's enclave, sealed by itself: kept here, in two files by turns.
//!
//! ```text
//! state n ──► file n mod 2, durable ──► the vault records number and digest ──► the enclave is told
//!                  │                         └ a crash before: n - 1 is the newest, and in the other file
//!                  └ a crash within: as before
//! ```
//!
//! The file of the newest state is never written to, whatever is asked: what comes next goes into the other one.
//!
//! Known attack: an older file put back, or taken away. It does not fit what the vault has recorded, and the enclave is told that
//! its state is lost.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bartizan_attestation::boot::Sha384;
use bartizan_attestation::host::{CardRefusal, StoredState};
use bartizan_attestation::keys::{EnclaveState, StateRecord, VaultReply, VaultRequest};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::durable;
use crate::vault::{Vault, VaultError};

/// States that are stored one after another, where none was for long.
const AT_ONCE: u32 = 32;
/// After how long there is one more: each is a few writes to the disk that last.
const PAUSE: Duration = Duration::from_secs(2);
/// How long a reset waits for the enclave, which asks every five seconds while its state is lost.
const TAKEN_UP: Duration = Duration::from_secs(15);

/// The state of the enclave, as this card keeps it.
pub(crate) struct KeptState {
    folder: PathBuf,
    vault: Vault,
    one_at_a_time: Mutex<()>,
    /// When the last of those that were stored would have been due.
    pace: tokio::sync::Mutex<Instant>,
    /// Whether the enclave was told last that its state is lost.
    is_lost: watch::Sender<bool>,
}

impl KeptState {
    /// That of the enclave whose key this vault has.
    pub(crate) fn new(state_dir: &Path, vault: Vault) -> Self {
        Self {
            folder: state_dir.to_owned(),
            vault,
            one_at_a_time: Mutex::default(),
            pace: tokio::sync::Mutex::new(Instant::now()),
            is_lost: watch::Sender::new(false),
        }
    }

    /// What is there. Blocks.
    pub(crate) fn load(&self) -> Result<StoredState, CardRefusal> {
        let _alone = self.alone();
        let EnclaveState { key, record } = self.recorded()?;
        let sealed = match record {
            Some(record) => self.fitting(record)?,
            None => None,
        };
        let is_lost = record.is_some() && sealed.is_none();
        self.is_lost.send_replace(is_lost);
        if is_lost {
            tracing::error!(
                "the state of the enclave is lost: no file is the one that the vault has recorded"
            );
        }
        Ok(StoredState {
            key,
            record,
            sealed: sealed.map(Into::into),
        })
    }

    /// Keeps the next state; once this returns it is the newest. Blocks.
    pub(crate) fn store(&self, number: u64, sealed: &[u8]) -> Result<(), CardRefusal> {
        let _alone = self.alone();
        let asked = StateRecord {
            number,
            digest: Sha384::of(sealed),
        };
        let newest = self.recorded()?.record;
        let is_newest = newest == Some(asked);
        if is_newest && self.fitting(asked)?.is_some() {
            return Ok(());
        }
        if !is_newest && StateRecord::next_after(newest.as_ref()) != Some(number) {
            return Err(CardRefusal::StateOrder {
                recorded: newest.map_or(0, |newest| newest.number),
                asked: number,
            });
        }
        if sealed.len() > StateRecord::MAX_SEALED {
            let why = format!("it has {} bytes, more than are read again", sealed.len());
            return Err(CardRefusal::State(why));
        }
        durable::replace(&self.file(number), sealed).map_err(|error| unwritten(&error))?;
        self.ask_done(&VaultRequest::RecordEnclaveState(asked))
    }

    /// Forgets it: the enclave begins with none. Blocks.
    pub(crate) fn reset(&self) -> Result<(), VaultError> {
        let _alone = self.alone();
        match self.vault.ask(&VaultRequest::ResetEnclaveState)? {
            VaultReply::Done => {}
            _ => return Err(VaultError::Unexpected),
        }
        // Nobody opens them any more.
        for number in [0, 1] {
            if let Err(error) = durable::remove(&self.file(number)) {
                tracing::warn!(%error, "a former state of the enclave is still there");
            }
        }
        Ok(())
    }

    /// Returns once the enclave knows of a reset, if it was told before that its state is lost, and is there.
    pub(crate) async fn taken_up(&self) {
        let mut is_lost = self.is_lost.subscribe();
        // INVARIANT: the sender is this one's.
        let _always = timeout(TAKEN_UP, is_lost.wait_for(|is_lost| !is_lost)).await;
    }

    /// Returns once one more may be stored.
    pub(crate) async fn turn(&self) {
        let mut due = self.pace.lock().await;
        let now = Instant::now();
        // What would be before the clock's own beginning is due.
        sleep_until(due.checked_sub(PAUSE * AT_ONCE).unwrap_or(now)).await;
        *due = (*due).max(now) + PAUSE;
    }

    fn recorded(&self) -> Result<EnclaveState, CardRefusal> {
        match self.vault.ask(&VaultRequest::EnclaveState)? {
            VaultReply::EnclaveState(state) => Ok(state),
            _ => Err(VaultError::Unexpected.into()),
        }
    }

    fn ask_done(&self, request: &VaultRequest) -> Result<(), CardRefusal> {
        match self.vault.ask(request)? {
            VaultReply::Done => Ok(()),
            _ => Err(VaultError::Unexpected.into()),
        }
    }

    /// The sealed state that a record is of, if it is there.
    fn fitting(&self, record: StateRecord) -> Result<Option<Vec<u8>>, CardRefusal> {
        let found = read(&self.file(record.number)).map_err(|error| unread(&error))?;
        Ok(found.filter(|sealed| Sha384::of(sealed) == record.digest))
    }

    fn file(&self, number: u64) -> PathBuf {
        self.folder.join(format!("enclave-state.{}", number % 2))
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.one_at_a_time
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// None where there is no file, or one that cannot have been written here.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let size = file.metadata()?.len();
    if size > StateRecord::MAX_SEALED as u64 {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    file.take(StateRecord::MAX_SEALED as u64)
        .read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn unwritten(error: &io::Error) -> CardRefusal {
    CardRefusal::State(error.to_string())
}

fn unread(error: &io::Error) -> CardRefusal {
    CardRefusal::State(format!("the enclave's cannot be read: {error}"))
}

#[cfg(test)]
mod tests;
