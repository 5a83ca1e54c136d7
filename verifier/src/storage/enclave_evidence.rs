//! Evidence that enclaves sent, verbatim, and up to where it is kept.

use bartizan_attestation::identity::CardId;
use bartizan_stream::message::{Evidence, Source};
use sqlx::SqliteConnection;

use super::{Storage, StorageError, as_blob, as_integer, from_blob};

/// How many pieces are kept of a host's enclave: the newest.
const KEPT: i64 = 256;
/// Of how many states of an enclave it is known up to where they were.
const SOURCES: i64 = 8;

/// Up to where evidence of one state of an enclave is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SourceStanding {
    /// All up to this number.
    Known(u64),
    /// Nothing of this state was ever received, or that is long forgotten.
    New,
}

const DAMAGED: StorageError = StorageError::Damaged {
    table: "evidence_sources",
};

impl Storage {
    /// Up to where evidence of a source is kept.
    pub async fn evidence_standing(
        &self,
        card: CardId,
        source: Source,
    ) -> Result<SourceStanding, StorageError> {
        let kept: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT kept FROM evidence_sources WHERE card = ? AND source = ?")
                .bind(card.0.as_slice())
                .bind(source.0.as_slice())
                .fetch_optional(&self.readers)
                .await?;
        Ok(match kept {
            Some(kept) => SourceStanding::Known(from_blob(&kept).ok_or(DAMAGED)?),
            None => SourceStanding::New,
        })
    }

    /// Begins a source, or goes on with one, after `kept`: what is before it is not there any more where it was sent from.
    pub async fn skip_evidence(
        &self,
        card: CardId,
        source: Source,
        kept: u64,
        now_ms: u64,
    ) -> Result<(), StorageError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        advance(&mut transaction, card, source, kept, now_ms).await?;
        sqlx::query("UPDATE evidence_sources SET gaps = gaps + 1 WHERE card = ? AND source = ?")
            .bind(card.0.as_slice())
            .bind(source.0.as_slice())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Keeps evidence, the next of its source; it is durable once this returns.
    pub async fn keep_evidence(
        &self,
        card: CardId,
        source: Source,
        evidence: &Evidence,
        now_ms: u64,
    ) -> Result<(), StorageError> {
        let sequence = evidence.sequence().get();
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        advance(&mut transaction, card, source, sequence, now_ms).await?;
        sqlx::query(
            "INSERT INTO enclave_evidence (card, source, sequence, signed, received_at_ms)
             VALUES (?, ?, ?, ?, ?)",
        )
        .bind(card.0.as_slice())
        .bind(source.0.as_slice())
        .bind(as_blob(sequence).as_slice())
        .bind(evidence.signed().as_ref())
        .bind(as_integer(now_ms))
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "DELETE FROM enclave_evidence WHERE card = ?1 AND number <=
                 (SELECT number FROM enclave_evidence WHERE card = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
        )
        .bind(card.0.as_slice())
        .bind(KEPT)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }
}

async fn advance(
    connection: &mut SqliteConnection,
    card: CardId,
    source: Source,
    kept: u64,
    now_ms: u64,
) -> Result<(), StorageError> {
    sqlx::query(
        "INSERT INTO evidence_sources (card, source, kept, gaps, last_at_ms) VALUES (?, ?, ?, 0, ?)
         ON CONFLICT (card, source) DO UPDATE SET kept = excluded.kept, last_at_ms = excluded.last_at_ms",
    )
    .bind(card.0.as_slice())
    .bind(source.0.as_slice())
    .bind(as_blob(kept).as_slice())
    .bind(as_integer(now_ms))
    .execute(&mut *connection)
    .await?;
    // Known attack: states without end, each a row.
    sqlx::query(
        "DELETE FROM evidence_sources WHERE card = ?1 AND source NOT IN
             (SELECT source FROM evidence_sources WHERE card = ?1 ORDER BY last_at_ms DESC, source = ?2 DESC LIMIT ?3)",
    )
    .bind(card.0.as_slice())
    .bind(source.0.as_slice())
    .bind(SOURCES)
    .execute(connection)
    .await?;
    Ok(())
}
