//! Bundles that were published, for hosts to be booted from: of registered releases, in pieces.

use bartizan_attestation::boot::Sha384;
use bartizan_attestation::cose::PublicKey;
use sqlx::Row as _;

use super::releases::digest;
use super::{Storage, StorageError, as_integer, as_unsigned};

/// A bundle to be published.
#[derive(Clone, Copy, Debug)]
pub struct NewBundle<'a> {
    /// The digest of its release's manifest.
    pub manifest: &'a Sha384,
    /// SHA-256 over the key that signed that, DER SubjectPublicKeyInfo.
    pub signer: &'a [u8; 32],
    /// All of it.
    pub bytes: &'a [u8],
    /// SHA-384 over that.
    pub sha384: Sha384,
    /// Who publishes it.
    pub operator: &'a str,
}

/// A bundle that is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublishedBundle {
    /// SHA-384 over all of it.
    pub sha384: Sha384,
    /// Its size in bytes.
    pub size: usize,
}

/// Whether a bundle was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Published {
    /// It is kept.
    Kept,
    /// As many of later versions are kept as there may be of one release key.
    Superseded,
    /// Its release was retired meanwhile, or is another key's.
    Retired,
    /// Pieces of it were dropped while it was being stored.
    Torn,
}

impl Storage {
    /// Longest piece of a bundle, in bytes.
    pub const BUNDLE_PIECE: usize = 1 << 20;
    /// Most bundles that are kept of one release key: the newest versions that are in force.
    pub const BUNDLES_OF_A_KEY: u32 = 3;

    /// Keeps a bundle, in the place of what was published of its release before, and drops those that are kept no longer. One is
    /// published at a time.
    pub async fn publish_bundle(
        &self,
        bundle: NewBundle<'_>,
        now_ms: u64,
    ) -> Result<Published, StorageError> {
        self.drop_loose_pieces().await?;
        let published = self.enter_pieces(&bundle, now_ms).await;
        // Also where it failed: a disk that is full is not to stay full.
        self.try_drop_loose_pieces().await;
        published
    }

    async fn enter_pieces(
        &self,
        bundle: &NewBundle<'_>,
        now_ms: u64,
    ) -> Result<Published, StorageError> {
        if !self.has_bundle(&bundle.sha384).await? {
            self.write_pieces(&bundle.sha384, bundle.bytes).await?;
        }
        self.enter_bundle(bundle, now_ms).await
    }

    async fn has_bundle(&self, sha384: &Sha384) -> Result<bool, StorageError> {
        let found = sqlx::query("SELECT 1 FROM bundles WHERE sha384 = ?");
        let found = found.bind(sha384.0.as_slice());
        Ok(found.fetch_optional(&self.readers).await?.is_some())
    }

    /// A commit each: verdicts are written in between.
    pub(super) async fn write_pieces(
        &self,
        bundle: &Sha384,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        for (number, piece) in (0_u32..).zip(bytes.chunks(Self::BUNDLE_PIECE)) {
            sqlx::query("INSERT INTO bundle_pieces (bundle, number, bytes) VALUES (?, ?, ?)")
                .bind(bundle.0.as_slice())
                .bind(number)
                .bind(piece)
                .execute(&self.writer)
                .await?;
        }
        Ok(())
    }

    pub(super) async fn enter_bundle(
        &self,
        bundle: &NewBundle<'_>,
        now_ms: u64,
    ) -> Result<Published, StorageError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let release = sqlx::query(
            "SELECT 1 FROM releases WHERE manifest = ? AND signer = ? AND retired_at_ms IS NULL",
        )
        .bind(bundle.manifest.0.as_slice())
        .bind(bundle.signer.as_slice())
        .fetch_optional(&mut *transaction)
        .await?;
        if release.is_none() {
            transaction.rollback().await?;
            return Ok(Published::Retired);
        }
        // A second verifier on one database is a mistake, and not to be paid for by hosts.
        let written: i64 = sqlx::query_scalar(
            "SELECT coalesce(sum(length(bytes)), 0) FROM bundle_pieces WHERE bundle = ?",
        )
        .bind(bundle.sha384.0.as_slice())
        .fetch_one(&mut *transaction)
        .await?;
        if as_unsigned(written) != bundle.bytes.len() as u64 {
            transaction.rollback().await?;
            return Ok(Published::Torn);
        }
        sqlx::query("DELETE FROM bundles WHERE manifest = ?")
            .bind(bundle.manifest.0.as_slice())
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "INSERT INTO bundles (sha384, manifest, size, operator, published_at_ms)
             VALUES (?, ?, ?, ?, ?)",
        )
        .bind(bundle.sha384.0.as_slice())
        .bind(bundle.manifest.0.as_slice())
        .bind(as_integer(bundle.bytes.len() as u64))
        .bind(bundle.operator)
        .bind(as_integer(now_ms))
        .execute(&mut *transaction)
        .await?;
        // What is retired is served no more: whoever puts it in force again publishes it again.
        sqlx::query(
            "DELETE FROM bundles WHERE manifest IN
                 (SELECT manifest FROM releases WHERE retired_at_ms IS NOT NULL)",
        )
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "DELETE FROM bundles WHERE manifest IN
                 (SELECT manifest FROM bundles JOIN releases USING (manifest) WHERE signer = ?
                  ORDER BY version DESC, published_at_ms DESC LIMIT -1 OFFSET ?)",
        )
        .bind(bundle.signer.as_slice())
        .bind(Self::BUNDLES_OF_A_KEY)
        .execute(&mut *transaction)
        .await?;
        let kept = sqlx::query("SELECT 1 FROM bundles WHERE sha384 = ?")
            .bind(bundle.sha384.0.as_slice())
            .fetch_optional(&mut *transaction)
            .await?;
        if kept.is_none() {
            // Nothing that is served was to be dropped: there are as many as there may be.
            transaction.rollback().await?;
            return Ok(Published::Superseded);
        }
        transaction.commit().await?;
        Ok(Published::Kept)
    }

    /// The same where nothing depends on it.
    pub(super) async fn try_drop_loose_pieces(&self) {
        if let Err(error) = self.drop_loose_pieces().await {
            tracing::warn!(%error, "pieces of bundles that are not kept are dropped with the next one that is published");
        }
    }

    /// Of a bundle that was replaced, dropped, or not published to the end. Who is being served it gets no more of it.
    pub(super) async fn drop_loose_pieces(&self) -> Result<(), StorageError> {
        loop {
            let dropped = sqlx::query(
                "DELETE FROM bundle_pieces WHERE rowid IN
                     (SELECT rowid FROM bundle_pieces
                      WHERE bundle NOT IN (SELECT sha384 FROM bundles) LIMIT 8)",
            )
            .execute(&self.writer)
            .await?;
            if dropped.rows_affected() == 0 {
                return Ok(());
            }
        }
    }

    /// The key that signed a registered release that is in force.
    pub async fn release_key_of(
        &self,
        manifest: &Sha384,
    ) -> Result<Option<PublicKey>, StorageError> {
        let found = sqlx::query(
            "SELECT signer_spki FROM releases WHERE manifest = ? AND retired_at_ms IS NULL",
        )
        .bind(manifest.0.as_slice())
        .fetch_optional(&self.readers)
        .await?;
        let Some(row) = found else { return Ok(None) };
        let key = PublicKey::from_spki_der(row.try_get("signer_spki")?);
        let damaged = |_| StorageError::Damaged { table: "releases" };
        key.map(Some).map_err(damaged)
    }

    /// The newest bundle of a release key, among those of releases in force.
    pub async fn newest_bundle(
        &self,
        release_key: &[u8; 32],
    ) -> Result<Option<PublishedBundle>, StorageError> {
        let found = sqlx::query(
            "SELECT sha384, size FROM bundles JOIN releases USING (manifest)
             WHERE signer = ? AND retired_at_ms IS NULL
             ORDER BY version DESC, published_at_ms DESC LIMIT 1",
        )
        .bind(release_key.as_slice())
        .fetch_optional(&self.readers)
        .await?;
        let Some(row) = found else { return Ok(None) };
        let size = as_unsigned(row.try_get("size")?);
        Ok(Some(PublishedBundle {
            sha384: digest(row.try_get("sha384")?)?,
            size: usize::try_from(size).map_err(|_| DAMAGED)?,
        }))
    }

    /// A piece of a bundle; `None` beyond its end, and of one that is kept no longer or whose release was retired.
    pub async fn bundle_piece(
        &self,
        bundle: &Sha384,
        number: u32,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        let found = sqlx::query(
            "SELECT bytes FROM bundle_pieces
             WHERE bundle = ? AND number = ? AND bundle IN
                 (SELECT sha384 FROM bundles JOIN releases USING (manifest)
                  WHERE retired_at_ms IS NULL)",
        )
        .bind(bundle.0.as_slice())
        .bind(number)
        .fetch_optional(&self.readers)
        .await?;
        Ok(match found {
            Some(row) => Some(row.try_get("bytes")?),
            None => None,
        })
    }
}

const DAMAGED: StorageError = StorageError::Damaged { table: "bundles" };
