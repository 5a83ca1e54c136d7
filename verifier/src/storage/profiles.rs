//! Application profiles, in revisions.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::page::{CHUNK, Reading};
use super::{Page, PageLimit, Storage, StorageError, as_integer, as_unsigned};

/// One revision of an application's profile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProfileRevision {
    /// The revision, from 1.
    pub revision: u64,
    /// The profile, JSON, as it was put.
    pub body: String,
    /// Who put it.
    pub operator: String,
    /// When.
    pub created_at_ms: u64,
}

/// A line of the list of profiles.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProfileSummary {
    /// The application.
    pub application: String,
    /// Its current revision.
    pub revision: u64,
    /// Who put it.
    pub operator: String,
    /// When.
    pub created_at_ms: u64,
}

/// How large an application's newest revision is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProfileSize {
    /// The revision. It never changes.
    pub revision: u64,
    /// Bytes of its JSON.
    pub bytes: usize,
}

const PUT: &str =
    "INSERT INTO profiles (application, revision, body, operator, created_at_ms)
     VALUES (?1, 1 + coalesce((SELECT max(revision) FROM profiles WHERE application = ?1), 0), ?2, ?3, ?4)
     RETURNING revision";

impl Storage {
    /// Puts a profile as the application's newest revision; says which that is.
    pub async fn put_profile(
        &self,
        application: &str,
        body: &str,
        operator: &str,
        now_ms: u64,
    ) -> Result<u64, StorageError> {
        let revision = sqlx::query_scalar(PUT)
            .bind(application)
            .bind(body)
            .bind(operator)
            .bind(as_integer(now_ms))
            .fetch_one(&self.writer)
            .await?;
        Ok(as_unsigned(revision))
    }

    /// Withdraws an application's profile; `false` if it has none. Its old revisions stay, for the
    /// verdicts that name them.
    pub async fn withdraw_profile(
        &self,
        application: &str,
        operator: &str,
        now_ms: u64,
    ) -> Result<bool, StorageError> {
        let done = sqlx::query(
            "INSERT INTO profiles (application, revision, body, operator, created_at_ms)
             SELECT application, revision + 1, NULL, ?2, ?3 FROM profiles
             WHERE application = ?1 AND body IS NOT NULL
               AND revision = (SELECT max(revision) FROM profiles WHERE application = ?1)",
        )
        .bind(application)
        .bind(operator)
        .bind(as_integer(now_ms))
        .execute(&self.writer)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// How large the application's newest revision is, before it is read; `None` if it has none or it was withdrawn.
    pub async fn profile_size(
        &self,
        application: &str,
    ) -> Result<Option<ProfileSize>, StorageError> {
        let row = sqlx::query(
            "SELECT revision, octet_length(body) AS bytes FROM profiles
             WHERE application = ? ORDER BY revision DESC LIMIT 1",
        )
        .bind(application)
        .fetch_optional(&self.readers)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let Some(bytes) = row.try_get::<Option<i64>, _>("bytes")? else {
            return Ok(None);
        };
        Ok(Some(ProfileSize {
            revision: as_unsigned(row.try_get("revision")?),
            bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
        }))
    }

    /// One revision of an application's profile.
    pub async fn profile_revision(
        &self,
        application: &str,
        revision: u64,
    ) -> Result<Option<ProfileRevision>, StorageError> {
        let row = sqlx::query(
            "SELECT revision, body, operator, created_at_ms FROM profiles
             WHERE application = ? AND revision = ?",
        )
        .bind(application)
        .bind(as_integer(revision))
        .fetch_optional(&self.readers)
        .await?;
        row.map_or(Ok(None), |row| profile_revision(&row))
    }

    /// The application's newest revision; `None` if it has none or it was withdrawn.
    pub async fn profile(
        &self,
        application: &str,
    ) -> Result<Option<ProfileRevision>, StorageError> {
        let row = sqlx::query(
            "SELECT revision, body, operator, created_at_ms FROM profiles
             WHERE application = ? ORDER BY revision DESC LIMIT 1",
        )
        .bind(application)
        .fetch_optional(&self.readers)
        .await?;
        row.map_or(Ok(None), |row| profile_revision(&row))
    }

    /// Applications that have a profile by name, those after the application `after`.
    pub async fn profiles(
        &self,
        after: Option<&str>,
        limit: PageLimit,
    ) -> Result<Page<ProfileSummary>, StorageError> {
        let mut reading = Reading::new(limit);
        loop {
            let last = reading
                .last()
                .map(|summary: &ProfileSummary| summary.application.as_str());
            // SQLite takes the bare columns from the row that holds the maximum
            // (sqlite.org/lang_select.html#bareagg).
            let chunk = sqlx::query(
                "SELECT application, max(revision) AS revision, body IS NULL AS withdrawn, operator,
                        created_at_ms
                 FROM profiles WHERE ?1 IS NULL OR application > ?1
                 GROUP BY application HAVING NOT withdrawn ORDER BY application LIMIT ?2",
            )
            .bind(last.or(after))
            .bind(CHUNK)
            .fetch_all(&self.readers)
            .await?;
            let chunk = chunk.iter().map(summary).collect::<Result<_, _>>()?;
            match reading.add(chunk, ProfileSummary::size) {
                Ok(page) => return Ok(page),
                Err(more) => reading = more,
            }
        }
    }
}

impl ProfileSummary {
    /// What it takes in memory, in bytes.
    fn size(&self) -> usize {
        self.application.len() + self.operator.len() + size_of::<Self>()
    }
}

/// `None` for a revision that withdraws.
fn profile_revision(row: &SqliteRow) -> Result<Option<ProfileRevision>, StorageError> {
    let Some(body) = row.try_get("body")? else {
        return Ok(None);
    };
    Ok(Some(ProfileRevision {
        revision: as_unsigned(row.try_get("revision")?),
        body,
        operator: row.try_get("operator")?,
        created_at_ms: as_unsigned(row.try_get("created_at_ms")?),
    }))
}

fn summary(row: &SqliteRow) -> Result<ProfileSummary, StorageError> {
    Ok(ProfileSummary {
        application: row.try_get("application")?,
        revision: as_unsigned(row.try_get("revision")?),
        operator: row.try_get("operator")?,
        created_at_ms: as_unsigned(row.try_get("created_at_ms")?),
    })
}
