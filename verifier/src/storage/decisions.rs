//! What administrators decided of who is refused. What is revoked or a fork now is in other tables, from which rows go; here they stay.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::page::{CHUNK, Reading};
use super::revocations::RevocationKind;
use super::{Page, PageLimit, Storage, StorageError, as_integer, as_unsigned};

/// What was decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecisionKind {
    /// A subject was revoked.
    Revoked,
    /// A revocation was taken back.
    Reinstated,
    /// A host's vault was taken for no fork any more.
    ForkCleared,
}

/// Something that an administrator decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Who decided it.
    pub operator: String,
    /// What.
    pub what: DecisionKind,
    /// Of what kind of subject.
    pub kind: RevocationKind,
    /// The subject.
    pub subject: String,
    /// Why, where that was said; of a fork, who had reported in.
    pub why: Option<String>,
}

/// A decision as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NumberedDecision {
    /// Counts all decisions, from 1.
    pub number: u64,
    /// It.
    pub decision: Decision,
}

impl DecisionKind {
    const ALL: [Self; 3] = [Self::Revoked, Self::Reinstated, Self::ForkCleared];

    /// The word in the database and the API.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Reinstated => "reinstated",
            Self::ForkCleared => "fork-cleared",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.word() == word)
    }
}

impl NumberedDecision {
    /// What it takes in memory, in bytes.
    fn size(&self) -> usize {
        let Decision {
            operator,
            subject,
            why,
            ..
        } = &self.decision;
        let why = why.as_ref().map_or(0, String::len);
        operator.len() + subject.len() + why + size_of::<Self>()
    }
}

impl Storage {
    /// Decisions, newest first, those of a lower number than `before`.
    pub async fn decisions(
        &self,
        before: Option<u64>,
        limit: PageLimit,
    ) -> Result<Page<NumberedDecision>, StorageError> {
        let mut reading = Reading::<NumberedDecision>::new(limit);
        loop {
            let before = reading.last().map(|last| last.number).or(before);
            let chunk = sqlx::query(
                "SELECT * FROM decisions WHERE ?1 IS NULL OR number < ?1
                 ORDER BY number DESC LIMIT ?2",
            )
            .bind(before.map(as_integer))
            .bind(CHUNK)
            .fetch_all(&self.readers)
            .await?;
            let chunk = chunk.iter().map(read).collect::<Result<_, _>>()?;
            match reading.add(chunk, NumberedDecision::size) {
                Ok(page) => return Ok(page),
                Err(more) => reading = more,
            }
        }
    }
}

/// In the transaction that does what was decided.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    decision: &Decision,
) -> Result<(), StorageError> {
    sqlx::query(
        "INSERT INTO decisions (decided_at_ms, operator, decision, kind, subject, why)
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(as_integer(decision.at_ms))
    .bind(&decision.operator)
    .bind(decision.what.word())
    .bind(decision.kind.word())
    .bind(&decision.subject)
    .bind(&decision.why)
    .execute(connection)
    .await?;
    Ok(())
}

fn read(row: &SqliteRow) -> Result<NumberedDecision, StorageError> {
    let damaged = || StorageError::Damaged { table: "decisions" };
    let what = DecisionKind::from_word(row.try_get("decision")?);
    let kind = RevocationKind::from_word(row.try_get("kind")?);
    Ok(NumberedDecision {
        number: as_unsigned(row.try_get("number")?),
        decision: Decision {
            at_ms: as_unsigned(row.try_get("decided_at_ms")?),
            operator: row.try_get("operator")?,
            what: what.ok_or_else(damaged)?,
            kind: kind.ok_or_else(damaged)?,
            subject: row.try_get("subject")?,
            why: row.try_get("why")?,
        },
    })
}
