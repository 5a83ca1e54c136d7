//! What enclaves said of the sets of policies that they were sent.

use bartizan_attestation::identity::CardId;
use bartizan_policy::Sha384;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::enrolment::card_id;
use super::page::{CHUNK, Reading};
use super::{Page, PageLimit, Storage, StorageError, as_blob, as_integer, as_unsigned, from_blob};

/// A set that is in force at a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InForce {
    /// Its number.
    pub number: u64,
    /// SHA-384 over it.
    pub digest: Sha384,
    /// For how many guests; `None` where that was not said.
    pub guests: Option<u64>,
    /// When that was said, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// A set that a host's enclave refused, and none was in force there since that has its number or a higher one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Its number.
    pub number: u64,
    /// `rollback`, `author`, `malformed` or `failed`.
    pub reason: String,
    /// The enclave's words.
    pub detail: String,
    /// When that was said, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// How a host stands to the set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostPolicies {
    /// The host's card.
    pub card: CardId,
    /// The host's name; `None` if it is not known here, as after the loss of what was enrolled.
    pub name: Option<String>,
    /// What is in force there; `None` if its enclave never said.
    pub in_force: Option<InForce>,
    /// What was refused there.
    pub refused: Option<Refused>,
}

const DAMAGED: StorageError = StorageError::Damaged {
    table: "policy_reports",
};

impl Storage {
    /// Keeps that a set is in force at a host. The same again, for who knows how many guests, changes nothing.
    pub async fn set_in_force(&self, card: CardId, set: &InForce) -> Result<(), StorageError> {
        sqlx::query(
            "INSERT INTO policy_reports (card, in_force, in_force_digest, in_force_at_ms, in_force_guests)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (card) DO UPDATE SET
                 in_force = excluded.in_force, in_force_digest = excluded.in_force_digest,
                 in_force_at_ms = iif(in_force = ?2 AND ?5 IS NULL, in_force_at_ms, ?4),
                 in_force_guests = coalesce(?5, iif(in_force = ?2, in_force_guests, NULL)),
                 refused_reason = iif(refused <= ?2, NULL, refused_reason),
                 refused_detail = iif(refused <= ?2, NULL, refused_detail),
                 refused_at_ms = iif(refused <= ?2, NULL, refused_at_ms),
                 refused = iif(refused <= ?2, NULL, refused)",
        )
        .bind(card.0.as_slice())
        .bind(as_blob(set.number).as_slice())
        .bind(set.digest.as_slice())
        .bind(as_integer(set.at_ms))
        .bind(set.guests.map(as_integer))
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Keeps that a set was refused at a host.
    pub async fn set_refused(&self, card: CardId, set: &Refused) -> Result<(), StorageError> {
        sqlx::query(
            "INSERT INTO policy_reports (card, refused, refused_reason, refused_detail, refused_at_ms)
             VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (card) DO UPDATE SET
                 refused = excluded.refused, refused_reason = excluded.refused_reason,
                 refused_detail = excluded.refused_detail, refused_at_ms = excluded.refused_at_ms",
        )
        .bind(card.0.as_slice())
        .bind(as_blob(set.number).as_slice())
        .bind(&set.reason)
        .bind(&set.detail)
        .bind(as_integer(set.at_ms))
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// All hosts by their cards, those after `after`, and what their enclaves said; also those that are not enrolled here, and said
    /// something.
    pub async fn host_policies(
        &self,
        after: Option<CardId>,
        limit: PageLimit,
    ) -> Result<Page<HostPolicies>, StorageError> {
        let mut reading = Reading::new(limit);
        loop {
            let after = reading
                .last()
                .map(|last: &HostPolicies| last.card)
                .or(after);
            let chunk = sqlx::query(
                "SELECT cards.card AS card, name, in_force, in_force_digest, in_force_at_ms, in_force_guests,
                        refused, refused_reason, refused_detail, refused_at_ms
                 FROM (SELECT card FROM hosts UNION SELECT card FROM policy_reports) AS cards
                     LEFT JOIN hosts ON hosts.card = cards.card
                     LEFT JOIN policy_reports ON policy_reports.card = cards.card
                 WHERE ?1 IS NULL OR cards.card > ?1 ORDER BY cards.card LIMIT ?2",
            )
            .bind(after.map(|after| after.0.to_vec()))
            .bind(CHUNK)
            .fetch_all(&self.readers)
            .await?;
            let chunk = chunk.iter().map(read).collect::<Result<_, _>>()?;
            match reading.add(chunk, HostPolicies::size) {
                Ok(page) => return Ok(page),
                Err(more) => reading = more,
            }
        }
    }
}

impl HostPolicies {
    /// What it takes in memory, in bytes.
    fn size(&self) -> usize {
        let refused = self.refused.as_ref();
        let refused = refused.map_or(0, |refused| refused.reason.len() + refused.detail.len());
        self.name.as_ref().map_or(0, String::len) + refused + size_of::<Self>()
    }
}

fn read(row: &SqliteRow) -> Result<HostPolicies, StorageError> {
    let number = |column: &str| -> Result<Option<u64>, StorageError> {
        let bytes: Option<&[u8]> = row.try_get(column)?;
        bytes
            .map(|bytes| from_blob(bytes).ok_or(DAMAGED))
            .transpose()
    };
    let in_force = match number("in_force")? {
        Some(number) => {
            let digest: &[u8] = row.try_get("in_force_digest")?;
            Some(InForce {
                number,
                digest: digest.try_into().map_err(|_| DAMAGED)?,
                guests: row
                    .try_get::<Option<i64>, _>("in_force_guests")?
                    .map(as_unsigned),
                at_ms: as_unsigned(row.try_get("in_force_at_ms")?),
            })
        }
        None => None,
    };
    let refused = match number("refused")? {
        Some(number) => Some(Refused {
            number,
            reason: row.try_get("refused_reason")?,
            detail: row.try_get("refused_detail")?,
            at_ms: as_unsigned(row.try_get("refused_at_ms")?),
        }),
        None => None,
    };
    Ok(HostPolicies {
        card: card_id(row.try_get("card")?, "hosts")?,
        name: row.try_get("name")?,
        in_force,
        refused,
    })
}
