//! Join codes and the hosts that enrolled with them.

use std::fmt;
use std::str::FromStr;

use axum::http::StatusCode;
use bartizan_attestation::identity::CardId;
use bartizan_attestation::keys::VaultKind;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::page::{CHUNK, Reading};
use super::{KeyId, Page, PageLimit, Storage, StorageError, as_integer, as_unsigned};
use crate::problem::ProblemType;

/// An enrolled host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EnrolledHost {
    /// Its card.
    pub card: CardId,
    /// Its name, for people.
    pub name: String,
    /// The operator who made its join code.
    pub operator: String,
    /// When it enrolled last.
    pub enrolled_at_ms: u64,
    /// The certificate of its card identity, DER.
    pub certificate: Vec<u8>,
    /// The key that its card identity has now.
    pub card_key: KeyId,
    /// Which back end its vault has.
    pub vault: VaultKind,
    /// The TPM that its identity key was proved to be in.
    pub tpm: Option<EnrolledTpm>,
}

/// A host's TPM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EnrolledTpm {
    /// SHA-256 over the endorsement key's name.
    pub endorsement: [u8; 32],
    /// SubjectPublicKeyInfo of the key that signs its quotes, DER.
    pub attestation_key: Vec<u8>,
}

/// What a join code is good for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinCode {
    /// The operator who made it.
    pub operator: String,
    /// Which back end the host's vault must have.
    pub vault: VaultKind,
    /// Whether the host may have another TPM than the one that its name is known with.
    pub another_tpm: bool,
}

/// A join code was not accepted.
///
/// Unknown, used, expired and withdrawn look alike from outside, so that nothing is learnt by guessing.
#[derive(Debug, thiserror::Error)]
pub enum JoinCodeError {
    /// No such code for that host name, or used, or expired, or its operator is revoked.
    #[error(
        "that join code is not good for this host name, was used, has expired, or its operator is revoked; ask an operator for a new one"
    )]
    NotAccepted,
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl ProblemType for JoinCodeError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::NotAccepted => ("join-code-not-accepted", StatusCode::FORBIDDEN),
            Self::Storage(error) => error.kind(),
        }
    }

    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::NotAccepted => None,
            Self::Storage(error) => error.retry_after_s(),
        }
    }
}

/// Which join codes are good: at the time ?1, the hash ?2 for the host ?3, of an operator who is not revoked.
macro_rules! where_good {
    () => {
        "WHERE code_sha256 = ?2 AND host_name = ?3 AND used_at_ms IS NULL AND expires_at_ms > ?1
           AND NOT EXISTS (SELECT 1 FROM revocations
                           WHERE kind = 'operator' AND subject = join_codes.operator)"
    };
}

impl Storage {
    /// Keeps a new join code by its hash, and drops those that have expired.
    pub async fn add_join_code(
        &self,
        code_sha256: &[u8; 32],
        host_name: &str,
        code: &JoinCode,
        now_ms: u64,
        expires_at_ms: u64,
    ) -> Result<(), StorageError> {
        let mut transaction = self.writer.begin().await?;
        sqlx::query("DELETE FROM join_codes WHERE expires_at_ms <= ?")
            .bind(as_integer(now_ms))
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "INSERT INTO join_codes
                 (code_sha256, host_name, operator, vault, another_tpm, created_at_ms, expires_at_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(code_sha256.as_slice())
        .bind(host_name)
        .bind(&code.operator)
        .bind(code.vault.name())
        .bind(code.another_tpm)
        .bind(as_integer(now_ms))
        .bind(as_integer(expires_at_ms))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// What a join code is good for, which is not used up.
    pub async fn join_code(
        &self,
        code_sha256: &[u8; 32],
        host_name: &str,
        now_ms: u64,
    ) -> Result<JoinCode, JoinCodeError> {
        let row = sqlx::query(concat!(
            "SELECT operator, vault, another_tpm FROM join_codes ",
            where_good!()
        ))
        .bind(as_integer(now_ms))
        .bind(code_sha256.as_slice())
        .bind(host_name)
        .fetch_optional(&self.readers)
        .await
        .map_err(StorageError::from)?;
        let row = row.ok_or(JoinCodeError::NotAccepted)?;
        Ok(join_code(&row)?)
    }

    /// Uses a join code up and says what it is good for: none of an operator who is revoked. One statement: of two
    /// who race with the same code, one gets it, and a revocation comes before it or after.
    pub async fn use_join_code(
        &self,
        code_sha256: &[u8; 32],
        host_name: &str,
        now_ms: u64,
    ) -> Result<JoinCode, JoinCodeError> {
        let row = sqlx::query(concat!(
            "UPDATE join_codes SET used_at_ms = ?1 ",
            where_good!(),
            " RETURNING operator, vault, another_tpm"
        ))
        .bind(as_integer(now_ms))
        .bind(code_sha256.as_slice())
        .bind(host_name)
        .fetch_optional(&self.writer)
        .await
        .map_err(StorageError::from)?;
        let row = row.ok_or(JoinCodeError::NotAccepted)?;
        Ok(join_code(&row)?)
    }

    /// Makes a used join code good again: only for when it is certain that nothing was issued for it.
    pub async fn release_join_code(&self, code_sha256: &[u8; 32]) -> Result<(), StorageError> {
        sqlx::query("UPDATE join_codes SET used_at_ms = NULL WHERE code_sha256 = ?")
            .bind(code_sha256.as_slice())
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Keeps an enrolled host; a card that enrols again replaces what was kept of it.
    pub async fn add_host(&self, host: &EnrolledHost) -> Result<(), StorageError> {
        sqlx::query(
            "INSERT INTO hosts
                 (card, name, operator, enrolled_at_ms, certificate, vault, endorsement, attestation_key,
                  card_key)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (card) DO UPDATE SET name = excluded.name, operator = excluded.operator,
                 enrolled_at_ms = excluded.enrolled_at_ms, certificate = excluded.certificate,
                 vault = excluded.vault, endorsement = excluded.endorsement,
                 attestation_key = excluded.attestation_key, card_key = excluded.card_key",
        )
        .bind(host.card.0.as_slice())
        .bind(&host.name)
        .bind(&host.operator)
        .bind(as_integer(host.enrolled_at_ms))
        .bind(&host.certificate)
        .bind(host.vault.name())
        .bind(host.tpm.as_ref().map(|tpm| tpm.endorsement.as_slice()))
        .bind(host.tpm.as_ref().map(|tpm| tpm.attestation_key.as_slice()))
        .bind(host.card_key.as_slice())
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// The host that enrolled last with that card.
    pub async fn host(&self, card: CardId) -> Result<Option<EnrolledHost>, StorageError> {
        let row = sqlx::query(
            "SELECT card, name, operator, enrolled_at_ms, certificate, vault, endorsement, attestation_key,
                 card_key
             FROM hosts WHERE card = ?",
        )
        .bind(card.0.as_slice())
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(host).transpose()
    }

    /// Whether a host enrolled with a TPM.
    pub async fn has_tpm(&self, card: CardId) -> Result<bool, StorageError> {
        let found: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM hosts WHERE card = ? AND endorsement IS NOT NULL")
                .bind(card.0.as_slice())
                .fetch_optional(&self.readers)
                .await?;
        Ok(found.is_some())
    }

    /// Whether the host that enrolled last by this name, and is not revoked, has a TPM, and not this one.
    pub async fn is_of_another_tpm(
        &self,
        name: &str,
        endorsement: Option<&[u8; 32]>,
    ) -> Result<bool, StorageError> {
        let found: Option<i64> = sqlx::query_scalar(
            "SELECT 1 FROM
                 (SELECT endorsement FROM hosts
                  WHERE name = ?1
                    AND NOT EXISTS (SELECT 1 FROM revocations
                                    WHERE kind = 'host' AND subject = lower(hex(hosts.card)))
                  ORDER BY enrolled_at_ms DESC LIMIT 1)
             WHERE endorsement IS NOT NULL AND endorsement IS NOT ?2",
        )
        .bind(name)
        .bind(endorsement.map(<[u8; 32]>::as_slice))
        .fetch_optional(&self.readers)
        .await?;
        Ok(found.is_some())
    }

    /// Enrolled hosts by name, those after `after`.
    pub async fn hosts(
        &self,
        after: Option<HostCursor>,
        limit: PageLimit,
    ) -> Result<Page<EnrolledHost>, StorageError> {
        let mut reading = Reading::new(limit);
        loop {
            let after = reading
                .last()
                .map(EnrolledHost::cursor)
                .or_else(|| after.clone());
            let (name, card) = after.map_or((None, None), |after| {
                (Some(after.name), Some(after.card.0.to_vec()))
            });
            let chunk = sqlx::query(
                "SELECT card, name, operator, enrolled_at_ms, certificate, vault, endorsement,
                        attestation_key, card_key
                 FROM hosts
                 WHERE ?1 IS NULL OR (name, card) > (?1, ?2)
                 ORDER BY name, card LIMIT ?3",
            )
            .bind(name)
            .bind(card)
            .bind(CHUNK)
            .fetch_all(&self.readers)
            .await?;
            let chunk = chunk.iter().map(host).collect::<Result<_, _>>()?;
            match reading.add(chunk, EnrolledHost::size) {
                Ok(page) => return Ok(page),
                Err(more) => reading = more,
            }
        }
    }
}

impl EnrolledHost {
    /// Where the list goes on after it.
    #[must_use]
    pub fn cursor(&self) -> HostCursor {
        HostCursor {
            name: self.name.clone(),
            card: self.card,
        }
    }

    /// What it takes in memory, in bytes.
    fn size(&self) -> usize {
        let key = self.tpm.as_ref().map_or(0, |tpm| tpm.attestation_key.len());
        self.name.len() + self.operator.len() + self.certificate.len() + key + size_of::<Self>()
    }
}

/// A place in the list of hosts; it stays one when the host that it was made of enrols anew under another name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostCursor {
    name: String,
    card: CardId,
}

impl fmt::Display for HostCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.card, self.name)
    }
}

/// The text is no place in the list of hosts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not the `next` of a list of hosts")]
pub struct HostCursorError;

impl FromStr for HostCursor {
    type Err = HostCursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (card, name) = text.split_once(':').ok_or(HostCursorError)?;
        Ok(Self {
            name: name.to_owned(),
            card: card.parse().map_err(|_| HostCursorError)?,
        })
    }
}

fn host(row: &SqliteRow) -> Result<EnrolledHost, StorageError> {
    Ok(EnrolledHost {
        card: card_id(row.try_get("card")?, "hosts")?,
        name: row.try_get("name")?,
        operator: row.try_get("operator")?,
        enrolled_at_ms: as_unsigned(row.try_get("enrolled_at_ms")?),
        certificate: row.try_get("certificate")?,
        card_key: card_id(row.try_get("card_key")?, "hosts")?.0,
        vault: vault(row, "hosts")?,
        tpm: tpm(row)?,
    })
}

fn tpm(row: &SqliteRow) -> Result<Option<EnrolledTpm>, StorageError> {
    let endorsement: Option<&[u8]> = row.try_get("endorsement")?;
    let attestation_key: Option<Vec<u8>> = row.try_get("attestation_key")?;
    let Some((endorsement, attestation_key)) = endorsement.zip(attestation_key) else {
        return Ok(None);
    };
    let endorsement = endorsement
        .try_into()
        .map_err(|_| StorageError::Damaged { table: "hosts" })?;
    Ok(Some(EnrolledTpm {
        endorsement,
        attestation_key,
    }))
}

fn join_code(row: &SqliteRow) -> Result<JoinCode, StorageError> {
    Ok(JoinCode {
        operator: row.try_get("operator")?,
        vault: vault(row, "join_codes")?,
        another_tpm: row.try_get("another_tpm")?,
    })
}

fn vault(row: &SqliteRow, table: &'static str) -> Result<VaultKind, StorageError> {
    VaultKind::named(row.try_get("vault")?).ok_or(StorageError::Damaged { table })
}

pub(super) fn card_id(bytes: &[u8], table: &'static str) -> Result<CardId, StorageError> {
    bytes
        .try_into()
        .map(CardId)
        .map_err(|_| StorageError::Damaged { table })
}
