//! What must outlive the process: hosts, join codes, profiles, releases, revocations and other decisions, boots and verdicts, in
//! SQLite.
//!
//! There is one connection that writes and a few that read. The journal is a write-ahead log with
//! `synchronous=FULL`: a commit has returned only when the log was flushed to the disk, so that what
//! was acknowledged survives a kill and a power cut (sqlite.org/pragma.html#pragma_synchronous).
//! Verdicts are written in groups, one commit for all that wait ([`VerdictLog`]).

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, SqliteConnection, SqlitePool};

mod bundles;
mod card_keys;
mod commit;
mod counters;
mod decisions;
mod enclave_evidence;
mod enrolment;
mod error;
mod firmware;
mod forks;
mod guest_commands;
mod host_boots;
mod migrations;
mod page;
mod policies;
mod policy_reports;
mod profiles;
mod releases;
mod report_digests;
mod retention;
mod revocations;
mod standing;
#[cfg(test)]
mod tests;
mod trust_states;
mod verdicts;

pub use bundles::{NewBundle, Published, PublishedBundle};
pub use card_keys::{HostStanding, KeyId, Succeeded, Succeeding};
pub use commit::{Recorded, VerdictLog};
pub use counters::Reported;
pub use decisions::{Decision, DecisionKind, NumberedDecision};
pub use enclave_evidence::{KeptEvidence, SourceStanding};
pub use enrolment::{
    EnrolledHost, EnrolledTpm, HostCursor, HostCursorError, JoinCode, JoinCodeError,
};
pub use error::StorageError;
pub use firmware::{FirmwareReference, HostFirmware, PcrValues};
pub use forks::{Cleared, Fork, ForkSign, Reporter};
pub use guest_commands::{
    CommandAnswer, CommandConflict, CommandTarget, GuestCommand, NewCommand, command_word,
    outcome_word,
};
pub use host_boots::{BootedRelease, HostBoot};
pub use page::{Page, PageLimit};
pub use policies::{CurrentSet, KeptPolicy, NewPolicy, PolicyConflict};
pub use policy_reports::{HostPolicies, InForce, Refused};
pub use profiles::{ProfileRevision, ProfileSize, ProfileSummary};
pub use releases::Release;
pub use revocations::{
    Revocation, RevocationCursor, RevocationCursorError, RevocationKind, RevocationSubjectError,
};
pub use standing::Standing;
pub use trust_states::LastStatus;
pub use verdicts::{Evidence, KeptVerdict, Verdict, VerdictFilter, VerdictSummary};

/// The mode of files that their owner alone may read and write.
const OWNERS: u32 = 0o600;
/// How many connections read.
const READERS: u32 = 4;
/// How long a statement waits for a connection or a lock.
const PATIENCE: Duration = Duration::from_secs(5);

/// The open database.
#[derive(Clone, Debug)]
pub struct Storage {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Storage {
    /// Opens the database at `path`, makes it if there is none, closes it to all but its owner (mode 0600), and
    /// migrates it.
    pub async fn open(path: &Path) -> Result<Self, StorageError> {
        let cannot_open = |source: sqlx::Error| StorageError::Open {
            path: path.to_owned(),
            source: source.into(),
        };
        make_private(path).map_err(|error| cannot_open(sqlx::Error::Io(error)))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            // There is no other folder that this process may write to.
            .pragma("temp_store", "MEMORY")
            .busy_timeout(PATIENCE);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(PATIENCE)
            .after_release(|connection, _| Box::pin(is_outside_transactions(connection)))
            .connect_with(options.clone())
            .await
            .map_err(cannot_open)?;
        migrations::all()
            .run(&writer)
            .await
            .map_err(|source| StorageError::Migrate {
                path: path.to_owned(),
                source: source.into(),
            })?;
        report_digests::add_missing(&writer)
            .await
            .map_err(cannot_open)?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(PATIENCE)
            .connect_with(options.read_only(true))
            .await
            .map_err(cannot_open)?;
        let storage = Self { writer, readers };
        // What a process that was killed had not stored to its end.
        storage.try_drop_loose_pieces().await;
        Ok(storage)
    }

    /// Whether the database answers.
    pub async fn check(&self) -> Result<(), StorageError> {
        sqlx::query("SELECT 1").execute(&self.readers).await?;
        Ok(())
    }

    /// Closes all connections; what was committed stays.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Whether a connection that comes back may be used again. A full disk makes SQLite itself roll back
/// (sqlite.org/lang_transaction.html), of which sqlx is not told: it would take the connection to be
/// inside a transaction for ever, and no other could begin.
async fn is_outside_transactions(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // A rollback may still be under way; this waits for it.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

/// Makes the file before SQLite does, which would make it readable for everybody; the log and the
/// shared memory beside it take their mode from it. What is there already, from a backup perhaps, is
/// closed to others.
fn make_private(path: &Path) -> io::Result<()> {
    let made = File::options()
        .append(true)
        .create(true)
        .mode(OWNERS)
        .open(path)?;
    close_to_others(&made, path)?;
    for suffix in ["-wal", "-shm"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(suffix);
        match File::options().append(true).open(&beside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            there => close_to_others(&there?, Path::new(&beside))?,
        }
    }
    Ok(())
}

fn close_to_others(file: &File, path: &Path) -> io::Result<()> {
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode & !OWNERS != 0 {
        let (path, mode) = (path.display(), format!("{mode:o}"));
        tracing::warn!(%path, mode, "others could read or write this file; now its owner alone can");
        file.set_permissions(Permissions::from_mode(OWNERS))?;
    }
    Ok(())
}

/// A time or counter as SQLite keeps it.
fn as_integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A number that needs all of its 64 bits, in the order of numbers.
const fn as_blob(value: u64) -> [u8; 8] {
    value.to_be_bytes()
}

/// Such a number as it was kept; `None` if it is none.
fn from_blob(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().map(u64::from_be_bytes).ok()
}

/// A time or counter as it was kept.
fn as_unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
