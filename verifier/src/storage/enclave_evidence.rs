//! Evidence that enclaves sent, verbatim, and up to where it is kept.

use bartizan_attestation::identity::CardId;
use bartizan_stream::message::{Evidence, Source};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::page::{CHUNK, Reading};
use super::{Page, PageLimit, Storage, StorageError, as_blob, as_integer, from_blob};

/// How many pieces are kept of a host's enclave: the newest. Of what guests can have happen at will there is one in a minute.
const KEPT: i64 = 4096;
/// How many bytes of them.
const KEPT_BYTES: i64 = 16 << 20;
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

/// A piece of evidence as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptEvidence {
    /// By which it is found: the newest has the highest.
    pub number: i64,
    /// Whose numbers its own is of.
    pub source: Source,
    /// Its own number.
    pub sequence: u64,
    /// The signed message, verbatim.
    pub signed: Vec<u8>,
    /// Why nothing of it is believed; `None` where it was verified.
    pub refused: Option<String>,
    /// When it was received, in milliseconds since the Unix epoch.
    pub received_at_ms: u64,
}

impl KeptEvidence {
    /// What it takes in memory, in bytes.
    fn size(&self) -> usize {
        self.signed.len() + self.refused.as_ref().map_or(0, String::len) + size_of::<Self>()
    }
}

const DAMAGED: StorageError = StorageError::Damaged {
    table: "evidence_sources",
};
const DAMAGED_PIECE: StorageError = StorageError::Damaged {
    table: "enclave_evidence",
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

    /// The piece of a source with this number, if it is kept.
    pub async fn evidence_piece(
        &self,
        card: CardId,
        source: Source,
        sequence: u64,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        let piece = sqlx::query_scalar(
            "SELECT signed FROM enclave_evidence WHERE card = ? AND source = ? AND sequence = ?
             ORDER BY number DESC LIMIT 1",
        )
        .bind(card.0.as_slice())
        .bind(source.0.as_slice())
        .bind(as_blob(sequence).as_slice())
        .fetch_optional(&self.readers)
        .await?;
        Ok(piece)
    }

    /// Evidence of a host's enclave, the newest first, from before `before` on.
    pub async fn host_evidence(
        &self,
        card: CardId,
        before: Option<i64>,
        limit: PageLimit,
    ) -> Result<Page<KeptEvidence>, StorageError> {
        let mut reading = Reading::new(limit);
        loop {
            let before = reading
                .last()
                .map(|last: &KeptEvidence| last.number)
                .or(before);
            let chunk = sqlx::query(
                "SELECT number, source, sequence, signed, refused, received_at_ms FROM enclave_evidence
                 WHERE card = ?1 AND (?2 IS NULL OR number < ?2) ORDER BY number DESC LIMIT ?3",
            )
            .bind(card.0.as_slice())
            .bind(before)
            .bind(CHUNK)
            .fetch_all(&self.readers)
            .await?;
            let chunk = chunk.iter().map(read).collect::<Result<_, _>>()?;
            match reading.add(chunk, KeptEvidence::size) {
                Ok(page) => return Ok(page),
                Err(more) => reading = more,
            }
        }
    }

    /// Keeps evidence, the next of its source, and why it is not believed, if it is not; it is durable once this returns.
    pub async fn keep_evidence(
        &self,
        card: CardId,
        source: Source,
        evidence: &Evidence,
        refused: Option<&str>,
        now_ms: u64,
    ) -> Result<(), StorageError> {
        let sequence = evidence.sequence().get();
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        // Known failure: a stream whose place another one took keeps what it had read, which the other one is sent again.
        let kept: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT kept FROM evidence_sources WHERE card = ? AND source = ?")
                .bind(card.0.as_slice())
                .bind(source.0.as_slice())
                .fetch_optional(&mut *transaction)
                .await?;
        let kept = kept
            .map_or(Some(0), |kept| from_blob(&kept))
            .ok_or(DAMAGED)?;
        if kept >= sequence {
            return Ok(());
        }
        advance(&mut transaction, card, source, sequence, now_ms).await?;
        sqlx::query(
            "INSERT INTO enclave_evidence (card, source, sequence, signed, refused, received_at_ms)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(card.0.as_slice())
        .bind(source.0.as_slice())
        .bind(as_blob(sequence).as_slice())
        .bind(evidence.signed().as_ref())
        .bind(refused)
        .bind(as_integer(now_ms))
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "DELETE FROM enclave_evidence WHERE card = ?1 AND number <= (
                 SELECT max(number) FROM (
                     SELECT number, row_number() OVER newest AS place, sum(length(signed)) OVER newest AS bytes
                     FROM enclave_evidence WHERE card = ?1 WINDOW newest AS (ORDER BY number DESC)
                 ) WHERE place > ?2 OR bytes > ?3)",
        )
        .bind(card.0.as_slice())
        .bind(KEPT)
        .bind(KEPT_BYTES)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }
}

fn read(row: &SqliteRow) -> Result<KeptEvidence, StorageError> {
    let source: &[u8] = row.try_get("source")?;
    let source = source.try_into().map_err(|_| DAMAGED_PIECE)?;
    let sequence: &[u8] = row.try_get("sequence")?;
    let received_at_ms: i64 = row.try_get("received_at_ms")?;
    Ok(KeptEvidence {
        number: row.try_get("number")?,
        source: Source(source),
        sequence: from_blob(sequence).ok_or(DAMAGED_PIECE)?,
        signed: row.try_get("signed")?,
        refused: row.try_get("refused")?,
        received_at_ms: received_at_ms.cast_unsigned(),
    })
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
