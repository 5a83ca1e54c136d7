//! What hosts show of their own firmware, and what it may be.

use std::collections::BTreeMap;

use bartizan_attestation::boot::Sha384;
use bartizan_attestation::identity::CardId;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::page::{CHUNK, Reading};
use super::releases::digest;
use super::{Page, PageLimit, Storage, StorageError, as_integer, as_unsigned};

/// What PCRs hold, by number.
pub type PcrValues = BTreeMap<u8, Sha384>;

/// What a host showed last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostFirmware {
    /// The quoted PCRs, which the log replays to.
    pub pcrs: PcrValues,
    /// The log, as the firmware wrote it.
    pub log: Vec<u8>,
    /// When, in milliseconds since the Unix epoch.
    pub shown_at_ms: u64,
}

/// A reference: what PCRs of a host may hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FirmwareReference {
    /// SHA-384 over the PCRs' numbers and values: the same values are the same reference.
    pub id: Sha384,
    /// Which machines and firmware it is of, for people.
    pub name: String,
    /// The values.
    pub pcrs: PcrValues,
    /// Who registered it last.
    pub operator: String,
    /// When, in milliseconds since the Unix epoch.
    pub registered_at_ms: u64,
    /// When it was retired and by whom; `None` while it is in force.
    pub retired: Option<(u64, String)>,
}

impl FirmwareReference {
    /// The id of these values.
    #[must_use]
    pub fn id_of(pcrs: &PcrValues) -> Sha384 {
        Sha384::of(&joined(pcrs))
    }

    /// What it takes in memory, in bytes.
    fn size(&self) -> usize {
        let by = self.retired.as_ref().map_or(0, |(_, by)| by.len());
        let texts = self.name.len() + self.operator.len() + by;
        texts + self.pcrs.len() * PCR_LEN + size_of::<Self>()
    }
}

impl Storage {
    /// Most references that are in force at once: a host is compared with each.
    pub const MAX_FIRMWARE_REFERENCES: u32 = 256;

    /// Keeps what a host shows in the place of what it showed before.
    pub async fn put_host_firmware(
        &self,
        card: CardId,
        firmware: &HostFirmware,
    ) -> Result<(), StorageError> {
        sqlx::query(
            "INSERT INTO host_firmware (card, pcrs, log, shown_at_ms) VALUES (?, ?, ?, ?)
             ON CONFLICT (card) DO UPDATE SET
                 pcrs = excluded.pcrs, log = excluded.log, shown_at_ms = excluded.shown_at_ms",
        )
        .bind(card.0.as_slice())
        .bind(joined(&firmware.pcrs))
        .bind(&firmware.log)
        .bind(as_integer(firmware.shown_at_ms))
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// What a host showed last.
    pub async fn host_firmware(&self, card: CardId) -> Result<Option<HostFirmware>, StorageError> {
        let row = sqlx::query("SELECT pcrs, log, shown_at_ms FROM host_firmware WHERE card = ?")
            .bind(card.0.as_slice())
            .fetch_optional(&self.readers)
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(HostFirmware {
            pcrs: split(row.try_get("pcrs")?).ok_or(StorageError::Damaged {
                table: "host_firmware",
            })?,
            log: row.try_get("log")?,
            shown_at_ms: as_unsigned(row.try_get("shown_at_ms")?),
        }))
    }

    /// Puts a reference in force, one that was retired too; `false` if there are too many.
    pub async fn register_firmware(
        &self,
        name: &str,
        pcrs: &PcrValues,
        operator: &str,
        now_ms: u64,
    ) -> Result<bool, StorageError> {
        let id = FirmwareReference::id_of(pcrs);
        let done = sqlx::query(
            "INSERT INTO firmware_references (id, name, pcrs, operator, registered_at_ms)
             SELECT ?1, ?2, ?3, ?4, ?5 WHERE (SELECT count(*) FROM firmware_references
                 WHERE retired_at_ms IS NULL AND id <> ?1) < ?6
             ON CONFLICT (id) DO UPDATE SET
                 name = excluded.name, operator = excluded.operator,
                 registered_at_ms = excluded.registered_at_ms,
                 retired_at_ms = NULL, retired_by = NULL",
        )
        .bind(id.0.as_slice())
        .bind(name)
        .bind(joined(pcrs))
        .bind(operator)
        .bind(as_integer(now_ms))
        .bind(Self::MAX_FIRMWARE_REFERENCES)
        .execute(&self.writer)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Retires a reference; `false` if none of that id is in force.
    pub async fn retire_firmware(
        &self,
        id: &Sha384,
        operator: &str,
        now_ms: u64,
    ) -> Result<bool, StorageError> {
        let done = sqlx::query(
            "UPDATE firmware_references SET retired_at_ms = ?, retired_by = ?
             WHERE id = ? AND retired_at_ms IS NULL",
        )
        .bind(as_integer(now_ms))
        .bind(operator)
        .bind(id.0.as_slice())
        .execute(&self.writer)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// All references that are in force.
    pub async fn firmware_in_force(&self) -> Result<Vec<FirmwareReference>, StorageError> {
        let rows = sqlx::query(
            "SELECT id, name, pcrs, operator, registered_at_ms, retired_at_ms, retired_by
             FROM firmware_references WHERE retired_at_ms IS NULL ORDER BY id",
        )
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(reference).collect()
    }

    /// Whether the reference of that id is in force.
    pub async fn is_firmware_in_force(&self, id: &Sha384) -> Result<bool, StorageError> {
        let found =
            sqlx::query("SELECT 1 FROM firmware_references WHERE id = ? AND retired_at_ms IS NULL")
                .bind(id.0.as_slice())
                .fetch_optional(&self.readers)
                .await?;
        Ok(found.is_some())
    }

    /// References by their ids, those after `after`, retired ones included.
    pub async fn firmware_references(
        &self,
        after: Option<Sha384>,
        limit: PageLimit,
    ) -> Result<Page<FirmwareReference>, StorageError> {
        let mut reading = Reading::new(limit);
        loop {
            let last = reading.last().map(|last: &FirmwareReference| last.id);
            let chunk = sqlx::query(
                "SELECT id, name, pcrs, operator, registered_at_ms, retired_at_ms, retired_by
                 FROM firmware_references WHERE ?1 IS NULL OR id > ?1 ORDER BY id LIMIT ?2",
            )
            .bind(last.or(after).map(|after| after.0.to_vec()))
            .bind(CHUNK)
            .fetch_all(&self.readers)
            .await?;
            let chunk = chunk.iter().map(reference).collect::<Result<_, _>>()?;
            match reading.add(chunk, FirmwareReference::size) {
                Ok(page) => return Ok(page),
                Err(more) => reading = more,
            }
        }
    }
}

/// A number and 48 bytes.
const PCR_LEN: usize = 49;
const DAMAGED: StorageError = StorageError::Damaged {
    table: "firmware_references",
};

fn joined(pcrs: &PcrValues) -> Vec<u8> {
    let values = pcrs.iter();
    values
        .flat_map(|(pcr, value)| [&[*pcr][..], &value.0].concat())
        .collect()
}

fn split(bytes: &[u8]) -> Option<PcrValues> {
    let values = bytes.chunks(PCR_LEN);
    let values = values.map(|value| {
        let (pcr, value) = value.split_first()?;
        Some((*pcr, Sha384(value.try_into().ok()?)))
    });
    values.collect()
}

fn reference(row: &SqliteRow) -> Result<FirmwareReference, StorageError> {
    let retired_at: Option<i64> = row.try_get("retired_at_ms")?;
    let retired_by: Option<String> = row.try_get("retired_by")?;
    Ok(FirmwareReference {
        id: digest(row.try_get("id")?)?,
        name: row.try_get("name")?,
        pcrs: split(row.try_get("pcrs")?).ok_or(DAMAGED)?,
        operator: row.try_get("operator")?,
        registered_at_ms: as_unsigned(row.try_get("registered_at_ms")?),
        retired: retired_at.map(as_unsigned).zip(retired_by),
    })
}
