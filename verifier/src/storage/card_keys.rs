//! Which keys the card identities of hosts have had: what is superseded is accepted to the end of its overlap.
//!
//! Superseded keys are listed, not those that are good: that a key is good its certificate says, by the fleet CA, and a verifier whose
//! database was lost or set back must not refuse every host that has rotated its key since.

use bartizan_attestation::identity::CardId;
use sqlx::{Row as _, SqliteConnection};

use super::{Storage, StorageError, as_integer};

/// SHA-256 over a key's DER SubjectPublicKeyInfo.
pub type KeyId = [u8; 32];

/// How a host stands that shows a certificate by one of its card's keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostStanding {
    /// The host is revoked.
    pub revoked: bool,
    /// The key was superseded, and its overlap is over.
    pub key_ended: bool,
}

/// A card identity key that is to come after another, or to stay with another certificate.
#[derive(Clone, Copy, Debug)]
pub struct Succeeding<'a> {
    /// Whose.
    pub card: CardId,
    /// The present key.
    pub from: KeyId,
    /// The next one; the present one where its certificate is renewed.
    pub to: KeyId,
    /// The next one's certificate, DER.
    pub certificate: &'a [u8],
    /// When, in milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// The address that it was asked from.
    pub address: &'a str,
    /// Until when what the present key certified is accepted.
    pub accepted_until_ms: u64,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Succeeded {
    /// The host has this certificate (DER) now: the one that was given, or, where that very succession was recorded before, the
    /// one of then.
    Certificate(Vec<u8>),
    /// The present key has been superseded by another.
    Superseded,
    /// It has been, and names a third one now.
    OtherSuccessor,
    /// The next key is, or was, another's, or was this card's before.
    Taken,
    /// There is no such host.
    NotListed,
}

impl Storage {
    /// Reads how a host stands: one statement, so one snapshot of the database.
    pub async fn host_standing(
        &self,
        card: CardId,
        card_key: &KeyId,
        now_ms: u64,
    ) -> Result<HostStanding, StorageError> {
        let row = sqlx::query(
            "SELECT
                 EXISTS (SELECT 1 FROM revocations WHERE kind = 'host' AND subject = ?1) AS revoked,
                 EXISTS (SELECT 1 FROM superseded_card_keys
                         WHERE card_key = ?2 AND accepted_until_ms <= ?3) AS key_ended",
        )
        .bind(card.to_string())
        .bind(card_key.as_slice())
        .bind(as_integer(now_ms))
        .fetch_one(&self.readers)
        .await?;
        Ok(HostStanding {
            revoked: row.try_get("revoked")?,
            key_ended: row.try_get("key_ended")?,
        })
    }

    /// What a succession that was recorded already has come to; none where the present key has not been superseded.
    pub async fn succeeded(
        &self,
        from: &KeyId,
        to: &KeyId,
    ) -> Result<Option<Succeeded>, StorageError> {
        let mut reader = self.readers.acquire().await?;
        recorded(&mut reader, from, to).await
    }

    /// Whether a key cannot become this card's: it was superseded, or is the key of another card.
    pub async fn is_key_taken(&self, key: &KeyId, card: CardId) -> Result<bool, StorageError> {
        let mut reader = self.readers.acquire().await?;
        is_taken(&mut reader, key, card).await
    }

    /// Records that a host's key is superseded by another, or its certificate renewed. Of two at once that name different keys one
    /// is recorded.
    pub async fn succeed(&self, change: &Succeeding<'_>) -> Result<Succeeded, StorageError> {
        let Succeeding { card, from, to, .. } = *change;
        let mut transaction = self.writer.begin().await?;
        if let Some(recorded) = recorded(&mut transaction, &from, &to).await? {
            return Ok(recorded);
        }
        if from != to {
            if is_taken(&mut transaction, &to, card).await? {
                return Ok(Succeeded::Taken);
            }
            sqlx::query(
                "INSERT INTO superseded_card_keys
                     (card_key, card, successor, superseded_at_ms, accepted_until_ms, address)
                 VALUES (?, ?, ?, ?, ?, ?)",
            )
            .bind(from.as_slice())
            .bind(card.0.as_slice())
            .bind(to.as_slice())
            .bind(as_integer(change.now_ms))
            .bind(as_integer(change.accepted_until_ms))
            .bind(change.address)
            .execute(&mut *transaction)
            .await?;
        }
        let listed = sqlx::query("UPDATE hosts SET certificate = ?, card_key = ? WHERE card = ?")
            .bind(change.certificate)
            .bind(to.as_slice())
            .bind(card.0.as_slice())
            .execute(&mut *transaction)
            .await?;
        if listed.rows_affected() == 0 {
            return Ok(Succeeded::NotListed);
        }
        transaction.commit().await?;
        Ok(Succeeded::Certificate(change.certificate.to_vec()))
    }

    /// Records another certificate (DER) of a card's key; [`Succeeded::Superseded`] where the card has another key by now.
    pub async fn recertify(
        &self,
        card: CardId,
        key: &KeyId,
        certificate: &[u8],
    ) -> Result<Succeeded, StorageError> {
        let updated =
            sqlx::query("UPDATE hosts SET certificate = ? WHERE card = ? AND card_key = ?")
                .bind(certificate)
                .bind(card.0.as_slice())
                .bind(key.as_slice())
                .execute(&self.writer)
                .await?;
        Ok(match updated.rows_affected() {
            0 => Succeeded::Superseded,
            _ => Succeeded::Certificate(certificate.to_vec()),
        })
    }
}

async fn recorded(
    connection: &mut SqliteConnection,
    from: &KeyId,
    to: &KeyId,
) -> Result<Option<Succeeded>, StorageError> {
    let row = sqlx::query(
        "SELECT iif(superseded.successor = ?2 AND hosts.card_key = ?2, hosts.certificate, NULL)
             AS certificate,
             superseded.successor != ?2 AND superseded.card_key != ?2 AS other_successor
         FROM superseded_card_keys AS superseded LEFT JOIN hosts ON hosts.card = superseded.card
         WHERE superseded.card_key = ?1",
    )
    .bind(from.as_slice())
    .bind(to.as_slice())
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let certificate: Option<Vec<u8>> = row.try_get("certificate")?;
    let superseded = match row.try_get("other_successor")? {
        true => Succeeded::OtherSuccessor,
        false => Succeeded::Superseded,
    };
    Ok(Some(certificate.map_or(superseded, Succeeded::Certificate)))
}

async fn is_taken(
    connection: &mut SqliteConnection,
    key: &KeyId,
    card: CardId,
) -> Result<bool, StorageError> {
    let row = sqlx::query(
        "SELECT EXISTS (SELECT 1 FROM superseded_card_keys WHERE card_key = ?1)
             OR EXISTS (SELECT 1 FROM hosts WHERE card_key = ?1 AND card != ?2) AS taken",
    )
    .bind(key.as_slice())
    .bind(card.0.as_slice())
    .fetch_one(connection)
    .await?;
    Ok(row.try_get("taken")?)
}
