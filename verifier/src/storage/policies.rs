//! Policies as their authors signed them, and the set of those that shall be in force.

use bartizan_policy::{PolicySet, Sha384};
use bartizan_stream::Bytes;
use bartizan_stream::limits::{MAX_POLICIES, MAX_SET};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::page::{CHUNK, Reading};
use super::{Page, PageLimit, Storage, StorageError, as_blob, as_integer, as_unsigned, from_blob};

/// A policy that is to be in force. Its signature was verified.
#[derive(Clone, Copy, Debug)]
pub struct NewPolicy<'a> {
    /// Its name.
    pub name: &'a str,
    /// Goes up with each issue of it.
    pub serial: u64,
    /// SHA-384 over its text.
    pub digest: &'a Sha384,
    /// Who signed it.
    pub author: &'a str,
    /// As it was signed.
    pub signed: &'a [u8],
}

/// What is kept of a policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptPolicy {
    /// Its name.
    pub name: String,
    /// Of its newest issue.
    pub serial: u64,
    /// SHA-384 over its text.
    pub digest: Sha384,
    /// Who signed it.
    pub author: String,
    /// Who applied it.
    pub operator: String,
    /// When, in milliseconds since the Unix epoch.
    pub applied_at_ms: u64,
    /// When it was withdrawn and by whom; `None` while it is in the set.
    pub withdrawn: Option<(u64, String)>,
    /// How many bytes it has as it was signed.
    pub size: u64,
}

/// The set that shall be in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CurrentSet {
    /// Rises with each change.
    pub number: u64,
    /// SHA-384 over the set: [`PolicySet::digest`].
    pub digest: Sha384,
    /// When it was changed last, in milliseconds since the Unix epoch.
    pub changed_at_ms: u64,
    /// Its policies as they were signed, in the order of their names.
    pub signed: Vec<Bytes>,
}

/// A policy is not taken into the set.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PolicyConflict {
    /// A later issue was applied.
    #[error(
        "policy `{name}` has serial {serial}, and {newest} was applied before: enclaves refuse older issues; sign it with a serial above that"
    )]
    Older {
        /// Which.
        name: String,
        /// Its serial.
        serial: u64,
        /// The highest that was applied.
        newest: u64,
    },
    /// Another text was applied under that serial.
    #[error(
        "policy `{name}` was applied with serial {serial} and another text; sign it with a serial of its own"
    )]
    SerialTwice {
        /// Which.
        name: String,
        /// Its serial.
        serial: u64,
    },
    /// The set would be too large.
    #[error(
        "with it the set has {policies} policies and {bytes} bytes; {MAX_POLICIES} and {MAX_SET} are the most; withdraw others"
    )]
    SetTooLarge {
        /// Policies.
        policies: usize,
        /// Bytes of them as they are signed.
        bytes: usize,
    },
}

const DAMAGED: StorageError = StorageError::Damaged { table: "policies" };

impl Storage {
    /// Takes a policy into the set, in the place of its former issue; answers with the set. The same issue again changes nothing.
    pub async fn apply_policy(
        &self,
        new: &NewPolicy<'_>,
        operator: &str,
        now_ms: u64,
    ) -> Result<Result<CurrentSet, PolicyConflict>, StorageError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        if let Some(known) = newest(&mut transaction, new.name).await? {
            let (name, serial) = (new.name.to_owned(), new.serial);
            if serial < known.serial {
                let newest = known.serial;
                return Ok(Err(PolicyConflict::Older {
                    name,
                    serial,
                    newest,
                }));
            }
            if serial == known.serial && *new.digest != known.digest {
                return Ok(Err(PolicyConflict::SerialTwice { name, serial }));
            }
            if serial == known.serial
                && known.withdrawn.is_none()
                && let Some(set) = read_set(&mut transaction).await?
            {
                return Ok(Ok(set));
            }
        }
        sqlx::query(
            "INSERT INTO policies (name, serial, digest, author, signed, operator, applied_at_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (name) DO UPDATE SET
                 serial = excluded.serial, digest = excluded.digest, author = excluded.author,
                 signed = excluded.signed, operator = excluded.operator,
                 applied_at_ms = excluded.applied_at_ms, withdrawn_at_ms = NULL, withdrawn_by = NULL",
        )
        .bind(new.name)
        .bind(as_blob(new.serial).as_slice())
        .bind(new.digest.as_slice())
        .bind(new.author)
        .bind(new.signed)
        .bind(operator)
        .bind(as_integer(now_ms))
        .execute(&mut *transaction)
        .await?;
        let signed = signed_policies(&mut transaction).await?;
        let (policies, bytes) = (signed.len(), signed.iter().map(Bytes::len).sum());
        if policies > MAX_POLICIES || bytes > MAX_SET {
            // Dropped, the transaction is rolled back.
            return Ok(Err(PolicyConflict::SetTooLarge { policies, bytes }));
        }
        let set = renumber(&mut transaction, signed, now_ms).await?;
        transaction.commit().await?;
        Ok(Ok(set))
    }

    /// Takes a policy out of the set; answers with what is left, or `None` if it is not in it.
    pub async fn withdraw_policy(
        &self,
        name: &str,
        operator: &str,
        now_ms: u64,
    ) -> Result<Option<CurrentSet>, StorageError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let done = sqlx::query(
            "UPDATE policies SET withdrawn_at_ms = ?, withdrawn_by = ?
             WHERE name = ? AND withdrawn_at_ms IS NULL",
        )
        .bind(as_integer(now_ms))
        .bind(operator)
        .bind(name)
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(None);
        }
        let signed = signed_policies(&mut transaction).await?;
        let set = renumber(&mut transaction, signed, now_ms).await?;
        transaction.commit().await?;
        Ok(Some(set))
    }

    /// The set that shall be in force; `None` before the first policy was applied.
    pub async fn policy_set(&self) -> Result<Option<CurrentSet>, StorageError> {
        let mut transaction = self.readers.begin().await?;
        read_set(&mut transaction).await
    }

    /// Policies by their names, those after `after`, withdrawn ones included.
    pub async fn policies(
        &self,
        after: Option<String>,
        limit: PageLimit,
    ) -> Result<Page<KeptPolicy>, StorageError> {
        let mut reading = Reading::new(limit);
        loop {
            let after = reading
                .last()
                .map(|last: &KeptPolicy| last.name.clone())
                .or_else(|| after.clone());
            let chunk = sqlx::query(
                "SELECT name, serial, digest, author, operator, applied_at_ms, withdrawn_at_ms,
                        withdrawn_by, octet_length(signed) AS size FROM policies
                 WHERE ?1 IS NULL OR name > ?1 ORDER BY name LIMIT ?2",
            )
            .bind(after)
            .bind(CHUNK)
            .fetch_all(&self.readers)
            .await?;
            let chunk = chunk.iter().map(policy).collect::<Result<_, _>>()?;
            match reading.add(chunk, KeptPolicy::memory) {
                Ok(page) => return Ok(page),
                Err(more) => reading = more,
            }
        }
    }

    /// One policy, withdrawn or not.
    pub async fn policy(&self, name: &str) -> Result<Option<KeptPolicy>, StorageError> {
        let mut connection = self.readers.acquire().await?;
        newest(&mut connection, name).await
    }

    /// The same as it was signed.
    pub async fn signed_policy(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let signed = sqlx::query_scalar("SELECT signed FROM policies WHERE name = ?");
        Ok(signed.bind(name).fetch_optional(&self.readers).await?)
    }
}

impl KeptPolicy {
    /// What it takes in memory, in bytes.
    fn memory(&self) -> usize {
        let by = self.withdrawn.as_ref().map_or(0, |(_, by)| by.len());
        self.name.len() + self.author.len() + self.operator.len() + by + size_of::<Self>()
    }
}

async fn newest(
    connection: &mut SqliteConnection,
    name: &str,
) -> Result<Option<KeptPolicy>, StorageError> {
    let row = sqlx::query(
        "SELECT name, serial, digest, author, operator, applied_at_ms, withdrawn_at_ms, withdrawn_by,
                octet_length(signed) AS size
         FROM policies WHERE name = ?",
    )
    .bind(name)
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(policy).transpose()
}

async fn signed_policies(connection: &mut SqliteConnection) -> Result<Vec<Bytes>, StorageError> {
    let signed: Vec<Vec<u8>> = sqlx::query_scalar(
        "SELECT signed FROM policies WHERE withdrawn_at_ms IS NULL ORDER BY name",
    )
    .fetch_all(connection)
    .await?;
    Ok(signed.into_iter().map(Bytes::from).collect())
}

/// Gives the set, which was changed, its next number.
async fn renumber(
    connection: &mut SqliteConnection,
    signed: Vec<Bytes>,
    now_ms: u64,
) -> Result<CurrentSet, StorageError> {
    let last: Option<i64> = sqlx::query_scalar("SELECT number FROM policy_set")
        .fetch_optional(&mut *connection)
        .await?;
    // Enclaves never take a lower one again: not after a backup was restored, either.
    let number = (last.map_or(1, |last| as_unsigned(last) + 1)).max(now_ms / 1000);
    let digest = PolicySet::new(signed.iter().map(|signed| signed.to_vec())).digest();
    sqlx::query(
        "INSERT INTO policy_set (one, number, digest, changed_at_ms) VALUES (1, ?, ?, ?)
         ON CONFLICT (one) DO UPDATE SET
             number = excluded.number, digest = excluded.digest, changed_at_ms = excluded.changed_at_ms",
    )
    .bind(as_integer(number))
    .bind(digest.as_slice())
    .bind(as_integer(now_ms))
    .execute(connection)
    .await?;
    Ok(CurrentSet {
        number,
        digest,
        changed_at_ms: now_ms,
        signed,
    })
}

async fn read_set(connection: &mut SqliteConnection) -> Result<Option<CurrentSet>, StorageError> {
    let row = sqlx::query("SELECT number, digest, changed_at_ms FROM policy_set")
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let digest: &[u8] = row.try_get("digest")?;
    Ok(Some(CurrentSet {
        number: as_unsigned(row.try_get("number")?),
        digest: digest.try_into().map_err(|_| DAMAGED)?,
        changed_at_ms: as_unsigned(row.try_get("changed_at_ms")?),
        signed: signed_policies(connection).await?,
    }))
}

fn policy(row: &SqliteRow) -> Result<KeptPolicy, StorageError> {
    let (serial, digest): (&[u8], &[u8]) = (row.try_get("serial")?, row.try_get("digest")?);
    let withdrawn_at: Option<i64> = row.try_get("withdrawn_at_ms")?;
    let withdrawn_by: Option<String> = row.try_get("withdrawn_by")?;
    Ok(KeptPolicy {
        name: row.try_get("name")?,
        serial: from_blob(serial).ok_or(DAMAGED)?,
        digest: digest.try_into().map_err(|_| DAMAGED)?,
        author: row.try_get("author")?,
        operator: row.try_get("operator")?,
        applied_at_ms: as_unsigned(row.try_get("applied_at_ms")?),
        withdrawn: withdrawn_at.map(as_unsigned).zip(withdrawn_by),
        size: as_unsigned(row.try_get("size")?),
    })
}
