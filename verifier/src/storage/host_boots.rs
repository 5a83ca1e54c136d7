//! Boots of hosts whose logs were appraised.

use bartizan_attestation::boot::Sha384;
use bartizan_attestation::identity::CardId;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::releases::digest;
use super::{Storage, StorageError, as_integer, as_unsigned};

/// Most boots that are kept of a host: the oldest give way.
const KEPT: i64 = 32;
/// How often the time of one is renewed at most, in milliseconds.
const RENEWED_MS: u64 = 60_000;

/// A boot to be kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostBoot {
    /// The measurement register at the end of each phase that has ended, the first phase's first.
    pub phases: Vec<Sha384>,
    /// The manifests that it is of: the base's, the bundle's.
    pub releases: [Sha384; 2],
    /// When it was appraised, in milliseconds since the Unix epoch.
    pub appraised_at_ms: u64,
}

/// The releases of a boot, while they are in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BootedRelease {
    /// The manifest's digest.
    pub manifest: Sha384,
    /// For people.
    pub product: String,
    /// Its version.
    pub version: u64,
}

const IN_FORCE: &str = "SELECT
    base.manifest AS base, base.product AS base_product, base.version AS base_version,
    bundle.manifest AS bundle, bundle.product AS bundle_product, bundle.version AS bundle_version
    FROM host_boots AS boot
    JOIN releases AS base ON base.manifest = boot.base AND base.retired_at_ms IS NULL
    JOIN releases AS bundle ON bundle.manifest = boot.bundle AND bundle.retired_at_ms IS NULL
    WHERE boot.card = ?1 AND substr(boot.phases, 1, length(?2)) = ?2
    LIMIT 1";

impl Storage {
    /// Keeps an appraised boot and its log (CEL-CBOR). The same one again renews its time, once a minute: a host whose TPM
    /// quotes for each of its certificates says nothing new.
    pub async fn add_host_boot(
        &self,
        card: CardId,
        boot: &HostBoot,
        log: &[u8],
    ) -> Result<(), StorageError> {
        let kept = sqlx::query(
            "SELECT 1 FROM host_boots WHERE card = ? AND phases = ? AND log = ? AND appraised_at_ms > ?",
        )
        .bind(card.0.as_slice())
        .bind(joined(&boot.phases))
        .bind(log)
        .bind(as_integer(boot.appraised_at_ms.saturating_sub(RENEWED_MS)))
        .fetch_optional(&self.readers)
        .await?;
        if kept.is_some() {
            return Ok(());
        }
        let mut transaction = self.writer.begin().await?;
        sqlx::query(
            "INSERT INTO host_boots (card, phases, base, bundle, log, appraised_at_ms)
             VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (card, phases) DO UPDATE SET
                 log = excluded.log, appraised_at_ms = excluded.appraised_at_ms",
        )
        .bind(card.0.as_slice())
        .bind(joined(&boot.phases))
        .bind(boot.releases[0].0.as_slice())
        .bind(boot.releases[1].0.as_slice())
        .bind(log)
        .bind(as_integer(boot.appraised_at_ms))
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "DELETE FROM host_boots WHERE card = ?1 AND phases NOT IN
                 (SELECT phases FROM host_boots WHERE card = ?1
                  ORDER BY appraised_at_ms DESC, phases LIMIT ?2)",
        )
        .bind(card.0.as_slice())
        .bind(KEPT)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The releases, base and bundle, of an appraised boot of this host that began with these phases, if both are in
    /// force.
    pub async fn releases_of_boot(
        &self,
        card: CardId,
        phases: &[Sha384],
    ) -> Result<Option<[BootedRelease; 2]>, StorageError> {
        let row = sqlx::query(IN_FORCE)
            .bind(card.0.as_slice())
            .bind(joined(phases))
            .fetch_optional(&self.readers)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let base = released(&row, ["base", "base_product", "base_version"])?;
        let bundle = released(&row, ["bundle", "bundle_product", "bundle_version"])?;
        Ok(Some([base, bundle]))
    }

    /// The boots of a host that are kept, the last appraised first.
    pub async fn host_boots(&self, card: CardId) -> Result<Vec<HostBoot>, StorageError> {
        let rows = sqlx::query(
            "SELECT phases, base, bundle, appraised_at_ms FROM host_boots
             WHERE card = ? ORDER BY appraised_at_ms DESC, phases",
        )
        .bind(card.0.as_slice())
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(host_boot).collect()
    }

    /// The last appraised boot of a host, and its log.
    pub async fn latest_host_boot(
        &self,
        card: CardId,
    ) -> Result<Option<(HostBoot, Vec<u8>)>, StorageError> {
        let row = sqlx::query(
            "SELECT phases, base, bundle, log, appraised_at_ms FROM host_boots
             WHERE card = ? ORDER BY appraised_at_ms DESC, phases LIMIT 1",
        )
        .bind(card.0.as_slice())
        .fetch_optional(&self.readers)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some((host_boot(&row)?, row.try_get("log")?)))
    }
}

fn joined(phases: &[Sha384]) -> Vec<u8> {
    phases.iter().flat_map(|phase| phase.0).collect()
}

fn released(row: &SqliteRow, columns: [&str; 3]) -> Result<BootedRelease, StorageError> {
    let [manifest, product, version] = columns;
    Ok(BootedRelease {
        manifest: digest(row.try_get(manifest)?)?,
        product: row.try_get(product)?,
        version: as_unsigned(row.try_get(version)?),
    })
}

fn host_boot(row: &SqliteRow) -> Result<HostBoot, StorageError> {
    let phases: &[u8] = row.try_get("phases")?;
    Ok(HostBoot {
        phases: phases.chunks(48).map(digest).collect::<Result<_, _>>()?,
        releases: [
            digest(row.try_get("base")?)?,
            digest(row.try_get("bundle")?)?,
        ],
        appraised_at_ms: as_unsigned(row.try_get("appraised_at_ms")?),
    })
}
