//! Releases that hosts may be booted from.

use bartizan_attestation::boot::{ManifestError, Part, Sha384, VerifiedManifest};
use bartizan_attestation::cose::PublicKey;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::page::{CHUNK, Reading};
use super::{Page, PageLimit, Storage, StorageError, as_integer, as_unsigned};

/// A registered release.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Release {
    /// The digest of its manifest: what event logs name it by.
    pub manifest: Sha384,
    /// Which part of a boot it is.
    pub part: Part,
    /// Its version.
    pub version: u64,
    /// What it is a release of, for people.
    pub product: String,
    /// SHA-256 over the SubjectPublicKeyInfo of who signed it.
    pub signer: [u8; 32],
    /// Who registered it last.
    pub operator: String,
    /// When, in milliseconds since the Unix epoch.
    pub registered_at_ms: u64,
    /// When it was retired and by whom; `None` while it is in force.
    pub retired: Option<(u64, String)>,
    /// When its bundle was published, in milliseconds since the Unix epoch; `None` if it is not kept.
    pub published_at_ms: Option<u64>,
}

impl Storage {
    /// Puts a release in force, one that was retired too.
    pub async fn register_release(
        &self,
        release: &VerifiedManifest,
        signed: &[u8],
        key: &PublicKey,
        operator: &str,
        now_ms: u64,
    ) -> Result<(), StorageError> {
        let manifest = release.manifest();
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        // What was published of it was signed by the former key, or was taken back with it: it is published anew.
        sqlx::query(
            "DELETE FROM bundles WHERE manifest IN
                 (SELECT manifest FROM releases
                  WHERE manifest = ? AND (signer != ? OR retired_at_ms IS NOT NULL))",
        )
        .bind(release.sha384().0.as_slice())
        .bind(release.signer().as_slice())
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "INSERT INTO releases
                 (manifest, part, version, product, signer, signer_spki, signed, operator, registered_at_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (manifest) DO UPDATE SET
                 signer = excluded.signer, signer_spki = excluded.signer_spki, signed = excluded.signed,
                 operator = excluded.operator, registered_at_ms = excluded.registered_at_ms,
                 retired_at_ms = NULL, retired_by = NULL",
        )
        .bind(release.sha384().0.as_slice())
        .bind(manifest.part.name())
        .bind(as_integer(manifest.version))
        .bind(&manifest.product)
        .bind(release.signer().as_slice())
        .bind(key.spki_der())
        .bind(signed)
        .bind(operator)
        .bind(as_integer(now_ms))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Retires a release; `false` if none of that manifest is in force.
    pub async fn retire_release(
        &self,
        manifest: &Sha384,
        operator: &str,
        now_ms: u64,
    ) -> Result<bool, StorageError> {
        let done = sqlx::query(
            "UPDATE releases SET retired_at_ms = ?, retired_by = ?
             WHERE manifest = ? AND retired_at_ms IS NULL",
        )
        .bind(as_integer(now_ms))
        .bind(operator)
        .bind(manifest.0.as_slice())
        .execute(&self.writer)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Retires what other keys than these have signed; says how many releases that were.
    pub async fn retire_releases_of_others(
        &self,
        signers: &[[u8; 32]],
        by: &str,
        now_ms: u64,
    ) -> Result<u64, StorageError> {
        let mut retire = sqlx::QueryBuilder::new("UPDATE releases SET retired_at_ms = ");
        retire.push_bind(as_integer(now_ms));
        retire.push(", retired_by = ").push_bind(by);
        retire.push(" WHERE retired_at_ms IS NULL");
        for signer in signers {
            retire.push(" AND signer <> ").push_bind(signer.as_slice());
        }
        Ok(retire.build().execute(&self.writer).await?.rows_affected())
    }

    /// Those of the named releases that are in force, their signatures verified anew.
    pub async fn releases_in_force(
        &self,
        manifests: &[Sha384],
    ) -> Result<Vec<VerifiedManifest>, StorageError> {
        let mut found = Vec::new();
        for manifest in manifests {
            let row = sqlx::query(
                "SELECT signed, signer_spki FROM releases WHERE manifest = ? AND retired_at_ms IS NULL",
            )
            .bind(manifest.0.as_slice())
            .fetch_optional(&self.readers)
            .await?;
            if let Some(row) = row {
                found.push(verified(&row).map_err(|error| {
                    tracing::error!(%manifest, %error, "a registered release is refused");
                    match error {
                        KeptReleaseError::Row(_)
                        | KeptReleaseError::Key(_)
                        | KeptReleaseError::Manifest(ManifestError::Signature { .. }) => DAMAGED,
                        KeptReleaseError::Manifest(error) => StorageError::ReleaseRefused {
                            manifest: *manifest,
                            why: error.to_string(),
                        },
                    }
                })?);
            }
        }
        Ok(found)
    }

    /// Releases by their manifests' digests, those after `after`, retired ones included.
    pub async fn releases(
        &self,
        after: Option<Sha384>,
        limit: PageLimit,
    ) -> Result<Page<Release>, StorageError> {
        let mut reading = Reading::new(limit);
        loop {
            let after = reading.last().map(|last: &Release| last.manifest).or(after);
            let chunk = sqlx::query(
                "SELECT manifest, part, version, product, signer, releases.operator, registered_at_ms,
                        retired_at_ms, retired_by, published_at_ms
                 FROM releases LEFT JOIN bundles USING (manifest) WHERE ?1 IS NULL OR manifest > ?1 ORDER BY manifest LIMIT ?2",
            )
            .bind(after.map(|after| after.0.to_vec()))
            .bind(CHUNK)
            .fetch_all(&self.readers)
            .await?;
            let chunk = chunk.iter().map(release).collect::<Result<_, _>>()?;
            match reading.add(chunk, Release::size) {
                Ok(page) => return Ok(page),
                Err(more) => reading = more,
            }
        }
    }
}

impl Release {
    /// What it takes in memory, in bytes.
    fn size(&self) -> usize {
        let by = self.retired.as_ref().map_or(0, |(_, by)| by.len());
        self.product.len() + self.operator.len() + by + size_of::<Self>()
    }
}

const DAMAGED: StorageError = StorageError::Damaged { table: "releases" };

/// Why a kept release cannot be used.
#[derive(Debug, thiserror::Error)]
enum KeptReleaseError {
    #[error(transparent)]
    Row(#[from] sqlx::Error),
    #[error("its signer's key: {0}")]
    Key(#[from] bartizan_attestation::cose::PublicKeyError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

fn verified(row: &SqliteRow) -> Result<VerifiedManifest, KeptReleaseError> {
    let key = PublicKey::from_spki_der(row.try_get("signer_spki")?)?;
    Ok(VerifiedManifest::verify(row.try_get("signed")?, &key)?)
}

pub(super) fn digest(bytes: &[u8]) -> Result<Sha384, StorageError> {
    bytes.try_into().map(Sha384).map_err(|_| DAMAGED)
}

fn release(row: &SqliteRow) -> Result<Release, StorageError> {
    let part: &str = row.try_get("part")?;
    let part = [Part::Base, Part::Bundle]
        .into_iter()
        .find(|known| known.name() == part);
    let retired_at: Option<i64> = row.try_get("retired_at_ms")?;
    let retired_by: Option<String> = row.try_get("retired_by")?;
    let published_at: Option<i64> = row.try_get("published_at_ms")?;
    let signer: &[u8] = row.try_get("signer")?;
    Ok(Release {
        manifest: digest(row.try_get("manifest")?)?,
        part: part.ok_or(DAMAGED)?,
        version: as_unsigned(row.try_get("version")?),
        product: row.try_get("product")?,
        signer: signer.try_into().map_err(|_| DAMAGED)?,
        operator: row.try_get("operator")?,
        registered_at_ms: as_unsigned(row.try_get("registered_at_ms")?),
        retired: retired_at.map(as_unsigned).zip(retired_by),
        published_at_ms: published_at.map(as_unsigned),
    })
}
