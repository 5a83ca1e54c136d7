//! Who and what is revoked.

use std::fmt;
use std::str::FromStr;

use axum::http::StatusCode;
use bartizan_attestation::certificates::Subject;
use bartizan_attestation::identity::{CardId, GuestIdentity};
use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use utoipa::ToSchema;

use super::decisions::{self, Decision, DecisionKind};
use super::page::{CHUNK, Reading};
use super::{Page, PageLimit, Storage, StorageError, as_integer, as_unsigned};
use crate::problem::ProblemType;

/// What kind of subject is revoked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RevocationKind {
    /// A host, by its card id (64 hexadecimal digits).
    Host,
    /// A guest, by its URN; without the boot counter every boot of that VM on that card.
    Guest,
    /// An application, by its registered name.
    Application,
    /// An operator, by name: all certificates with that name.
    Operator,
}

/// A revocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revocation {
    /// What kind of subject.
    pub kind: RevocationKind,
    /// The subject.
    pub subject: String,
    /// Why, for people.
    pub reason: String,
    /// Who revoked it.
    pub operator: String,
    /// When.
    pub created_at_ms: u64,
}

/// The subject is not one of its kind; it would never match anything.
#[derive(Debug, thiserror::Error)]
#[error("`{subject}` names no {kind}; expected {expected}")]
pub struct RevocationSubjectError {
    subject: String,
    kind: &'static str,
    expected: &'static str,
}

impl ProblemType for RevocationSubjectError {
    fn kind(&self) -> (&'static str, StatusCode) {
        (
            "revocation-subject-invalid",
            StatusCode::UNPROCESSABLE_ENTITY,
        )
    }
}

impl RevocationKind {
    const ALL: [Self; 4] = [Self::Host, Self::Guest, Self::Application, Self::Operator];

    /// The word in the database and the API.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Guest => "guest",
            Self::Application => "application",
            Self::Operator => "operator",
        }
    }

    pub(super) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.word() == word)
    }

    /// Checks that a subject can be one of this kind, in its one spelling.
    pub fn check(self, subject: &str) -> Result<(), RevocationSubjectError> {
        let (fits, expected) = match self {
            Self::Host => (
                subject
                    .parse::<CardId>()
                    .is_ok_and(|card| card.to_string() == subject),
                "64 lower-case hexadecimal digits",
            ),
            Self::Guest => (
                subject.parse::<GuestIdentity>().is_ok()
                    || format!("{subject}:1").parse::<GuestIdentity>().is_ok(),
                "urn:bartizan:guest:<card>:<vm uuid>, and optionally :<boot>",
            ),
            Self::Application => ((1..=128).contains(&subject.len()), "1 to 128 bytes"),
            Self::Operator => (
                Subject::check_operator(subject).is_ok(),
                "an operator's name: 1 to 63 of `a-z`, `0-9`, `.`, `_`, `-`",
            ),
        };
        let subject = subject.chars().take(256).collect();
        if fits {
            Ok(())
        } else {
            Err(RevocationSubjectError {
                subject,
                kind: self.word(),
                expected,
            })
        }
    }
}

/// The URN of a guest without its boot counter.
pub(super) fn every_boot(guest: &GuestIdentity) -> String {
    let urn = guest.to_string();
    urn.rsplit_once(':')
        .map(|(vm, _)| vm.to_owned())
        .unwrap_or(urn)
}

impl Storage {
    /// Revokes; `false` if the subject is revoked already: it stays so with its first reason.
    pub async fn revoke(&self, revocation: &Revocation) -> Result<bool, StorageError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let done = sqlx::query(
            "INSERT INTO revocations (kind, subject, reason, operator, created_at_ms)
             VALUES (?, ?, ?, ?, ?) ON CONFLICT (kind, subject) DO NOTHING",
        )
        .bind(revocation.kind.word())
        .bind(&revocation.subject)
        .bind(&revocation.reason)
        .bind(&revocation.operator)
        .bind(as_integer(revocation.created_at_ms))
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        let decision = Decision {
            at_ms: revocation.created_at_ms,
            operator: revocation.operator.clone(),
            what: DecisionKind::Revoked,
            kind: revocation.kind,
            subject: revocation.subject.clone(),
            why: Some(revocation.reason.clone()),
        };
        decisions::insert(&mut transaction, &decision).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Takes a revocation back, by an operator; `false` if there is none.
    pub async fn reinstate(
        &self,
        kind: RevocationKind,
        subject: &str,
        operator: &str,
        now_ms: u64,
    ) -> Result<bool, StorageError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let done = sqlx::query("DELETE FROM revocations WHERE kind = ? AND subject = ?")
            .bind(kind.word())
            .bind(subject)
            .execute(&mut *transaction)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        let decision = Decision {
            at_ms: now_ms,
            operator: operator.into(),
            what: DecisionKind::Reinstated,
            kind,
            subject: subject.into(),
            why: None,
        };
        decisions::insert(&mut transaction, &decision).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Whether a subject is revoked.
    pub async fn is_revoked(
        &self,
        kind: RevocationKind,
        subject: &str,
    ) -> Result<bool, StorageError> {
        let found: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM revocations WHERE kind = ? AND subject = ?")
                .bind(kind.word())
                .bind(subject)
                .fetch_optional(&self.readers)
                .await?;
        Ok(found.is_some())
    }

    /// Revocations, newest first, those after `after`.
    pub async fn revocations(
        &self,
        after: Option<RevocationCursor>,
        limit: PageLimit,
    ) -> Result<Page<Revocation>, StorageError> {
        let mut reading = Reading::new(limit);
        loop {
            let after = reading.last().map(Revocation::cursor).or(after.clone());
            let (at_ms, kind, subject) = match after {
                Some(after) => (
                    Some(after.at_ms),
                    Some(after.kind.word()),
                    Some(after.subject),
                ),
                None => (None, None, None),
            };
            let chunk = sqlx::query(
                "SELECT kind, subject, reason, operator, created_at_ms FROM revocations
                 WHERE ?1 IS NULL OR created_at_ms < ?1
                    OR (created_at_ms = ?1 AND (kind, subject) > (?2, ?3))
                 ORDER BY created_at_ms DESC, kind, subject LIMIT ?4",
            )
            .bind(at_ms.map(as_integer))
            .bind(kind)
            .bind(subject)
            .bind(CHUNK)
            .fetch_all(&self.readers)
            .await?;
            let chunk = chunk.iter().map(revocation).collect::<Result<_, _>>()?;
            match reading.add(chunk, Revocation::size) {
                Ok(page) => return Ok(page),
                Err(more) => reading = more,
            }
        }
    }
}

impl Revocation {
    /// Where the list goes on after it.
    #[must_use]
    pub fn cursor(&self) -> RevocationCursor {
        RevocationCursor {
            at_ms: self.created_at_ms,
            kind: self.kind,
            subject: self.subject.clone(),
        }
    }

    /// What it takes in memory, in bytes.
    fn size(&self) -> usize {
        self.subject.len() + self.reason.len() + self.operator.len() + size_of::<Self>()
    }
}

/// A place in the list of revocations; it stays one when the revocation that it was made of is taken back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RevocationCursor {
    at_ms: u64,
    kind: RevocationKind,
    subject: String,
}

impl fmt::Display for RevocationCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.at_ms, self.kind.word(), self.subject)
    }
}

/// The text is no place in the list of revocations.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not the `next` of a list of revocations")]
pub struct RevocationCursorError;

impl FromStr for RevocationCursor {
    type Err = RevocationCursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, ':');
        let mut part = || parts.next().ok_or(RevocationCursorError);
        Ok(Self {
            at_ms: part()?.parse().map_err(|_| RevocationCursorError)?,
            kind: RevocationKind::from_word(part()?).ok_or(RevocationCursorError)?,
            subject: part()?.to_owned(),
        })
    }
}

fn revocation(row: &SqliteRow) -> Result<Revocation, StorageError> {
    let table = "revocations";
    let kind = RevocationKind::from_word(row.try_get("kind")?);
    Ok(Revocation {
        kind: kind.ok_or(StorageError::Damaged { table })?,
        subject: row.try_get("subject")?,
        reason: row.try_get("reason")?,
        operator: row.try_get("operator")?,
        created_at_ms: as_unsigned(row.try_get("created_at_ms")?),
    })
}
