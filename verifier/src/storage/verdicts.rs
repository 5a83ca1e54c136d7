//! Verdicts as they are read; [`super::commit`] writes them.

use bartizan_attestation::appraisal::Status;
use bartizan_attestation::identity::{CardId, GuestIdentity};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, Sqlite, SqliteConnection};

use super::enrolment::card_id;
use super::page::{CHUNK, Reading};
use super::{Page, PageLimit, Storage, StorageError, as_integer, as_unsigned};
use crate::metrics::status_word;

/// A verdict as it is recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// What is kept of it for ever.
    pub summary: VerdictSummary,
    /// What it rests on.
    pub evidence: Evidence,
}

/// A verdict as it was kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptVerdict {
    /// What is kept of it for ever.
    pub summary: VerdictSummary,
    /// What it rests on, or when that was dropped, in milliseconds since the Unix epoch.
    pub evidence: Result<Evidence, u64>,
}

/// What a verdict rests on; dropped by the retention policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evidence {
    /// The report, verbatim.
    pub report: Vec<u8>,
    /// The attestation result that was handed out.
    pub token: String,
}

/// A verdict without its evidence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerdictSummary {
    /// UUIDv7 (RFC 9562 section 5.7): in the order of time. Also the token's `jti`.
    pub id: String,
    /// When it was judged.
    pub judged_at_ms: u64,
    /// The guest's URN.
    pub guest: String,
    /// The guest's host.
    pub host: CardId,
    /// The application that the guest named.
    pub application: String,
    /// The revision of the profile it was judged by; `None` if the application had none.
    pub profile_revision: Option<u64>,
    /// The EAR status.
    pub status: String,
    /// Why, as JSON.
    pub reasons: String,
    /// SHA-256 of the report.
    pub report_sha256: [u8; 32],
}

impl VerdictSummary {
    /// The guest's VM, whatever its boot: its URN without the boot counter.
    #[must_use]
    pub fn vm(&self) -> &str {
        self.guest.rsplit_once(':').map_or("", |(vm, _)| vm)
    }

    /// Whether it affirms.
    #[must_use]
    pub fn is_affirming(&self) -> bool {
        self.status == status_word(Status::Affirming)
    }

    /// What it takes in memory, in bytes.
    fn size(&self) -> usize {
        let texts = self.id.len() + self.guest.len() + self.application.len() + self.status.len();
        texts + self.reasons.len() + size_of::<Self>()
    }

    /// What is kept of it for ever, in KiB, begun ones whole: a row and three indices.
    #[must_use]
    pub fn kept_kib(&self) -> u32 {
        let indexed = self.id.len() * 3 + self.guest.len() * 2 + self.application.len() * 2;
        let bytes = indexed + self.reasons.len() + 128;
        u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
    }
}

/// Which verdicts a list shall hold.
#[derive(Clone, Debug, Default)]
pub struct VerdictFilter {
    /// Only of this guest.
    pub guest: Option<String>,
    /// Only of this application.
    pub application: Option<String>,
    /// Only those older than this id: the next page after the one that ended with it.
    pub after: Option<String>,
}

const COLUMNS: &str =
    "SELECT id, judged_at_ms, guest, host, application, profile_revision, status, reasons,
            report_sha256";

impl Storage {
    /// Verdicts, newest first.
    pub async fn verdicts(
        &self,
        filter: &VerdictFilter,
        limit: PageLimit,
    ) -> Result<Page<VerdictSummary>, StorageError> {
        let mut reading = Reading::new(limit);
        loop {
            let last = reading
                .last()
                .map(|summary: &VerdictSummary| summary.id.as_str());
            let mut query = sqlx::QueryBuilder::<Sqlite>::new(COLUMNS);
            query.push(" FROM verdicts WHERE true");
            if let Some(guest) = &filter.guest {
                query.push(" AND guest = ").push_bind(guest);
            }
            if let Some(application) = &filter.application {
                query.push(" AND application = ").push_bind(application);
            }
            if let Some(after) = last.or(filter.after.as_deref()) {
                query.push(" AND id < ").push_bind(after);
            }
            query.push(" ORDER BY id DESC LIMIT ").push_bind(CHUNK);
            let chunk = query.build().fetch_all(&self.readers).await?;
            let chunk = chunk.iter().map(summary).collect::<Result<_, _>>()?;
            match reading.add(chunk, VerdictSummary::size) {
                Ok(page) => return Ok(page),
                Err(more) => reading = more,
            }
        }
    }

    /// What a verdict takes, in bytes, before it is read. It can become less, where its evidence is dropped.
    pub async fn verdict_size(&self, id: &str) -> Result<Option<usize>, StorageError> {
        let size: Option<i64> = sqlx::query_scalar(
            "SELECT octet_length(reasons) + coalesce(octet_length(report) + octet_length(token), 0)
             FROM verdicts LEFT JOIN evidence ON verdict = id WHERE id = ?",
        )
        .bind(id)
        .fetch_optional(&self.readers)
        .await?;
        Ok(size.map(|size| usize::try_from(size).unwrap_or(usize::MAX)))
    }

    /// One verdict, with its evidence if that is still kept.
    pub async fn verdict(&self, id: &str) -> Result<Option<KeptVerdict>, StorageError> {
        sqlx::query(
            "SELECT id, verdicts.judged_at_ms, guest, verdicts.host, application, profile_revision, status,
                    reasons, report_sha256, evidence_dropped_at_ms, report, token
             FROM verdicts LEFT JOIN evidence ON verdict = id WHERE id = ?",
        )
        .bind(id)
        .fetch_optional(&self.readers)
        .await?
        .map(|row| {
            Ok(KeptVerdict {
                summary: summary(&row)?,
                evidence: evidence(&row)?,
            })
        })
        .transpose()
    }
}

fn evidence(row: &SqliteRow) -> Result<Result<Evidence, u64>, StorageError> {
    let dropped: Option<i64> = row.try_get("evidence_dropped_at_ms")?;
    match (row.try_get("report")?, row.try_get("token")?, dropped) {
        (Some(report), Some(token), None) => Ok(Ok(Evidence { report, token })),
        (None, None, Some(at)) => Ok(Err(as_unsigned(at))),
        _ => Err(StorageError::Damaged { table: "evidence" }),
    }
}

fn summary(row: &SqliteRow) -> Result<VerdictSummary, StorageError> {
    Ok(VerdictSummary {
        id: row.try_get("id")?,
        judged_at_ms: as_unsigned(row.try_get("judged_at_ms")?),
        guest: row.try_get("guest")?,
        host: card_id(row.try_get("host")?, "verdicts")?,
        application: row.try_get("application")?,
        profile_revision: row
            .try_get::<Option<i64>, _>("profile_revision")?
            .map(as_unsigned),
        status: row.try_get("status")?,
        reasons: row.try_get("reasons")?,
        report_sha256: row
            .try_get::<&[u8], _>("report_sha256")?
            .try_into()
            .map_err(|_| StorageError::Damaged { table: "verdicts" })?,
    })
}

/// Raises the highest boot of the guest's VM to this one; `false` if a higher one was seen.
pub(super) async fn raise_boot(
    connection: &mut SqliteConnection,
    guest: &GuestIdentity,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "INSERT INTO boots (card, vm, boot) VALUES (?, ?, ?)
         ON CONFLICT (card, vm) DO UPDATE SET boot = excluded.boot WHERE excluded.boot >= boot",
    )
    .bind(guest.card.0.as_slice())
    .bind(guest.vm.as_slice())
    .bind(guest.boot.to_be_bytes().as_slice())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes one verdict.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    verdict: &Verdict,
) -> Result<(), sqlx::Error> {
    let Verdict { summary, evidence } = verdict;
    sqlx::query(
        "INSERT INTO verdicts (id, judged_at_ms, guest, host, application, profile_revision, status,
                               reasons, report_sha256)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&summary.id)
    .bind(as_integer(summary.judged_at_ms))
    .bind(&summary.guest)
    .bind(summary.host.0.as_slice())
    .bind(&summary.application)
    .bind(summary.profile_revision.map(as_integer))
    .bind(&summary.status)
    .bind(&summary.reasons)
    .bind(summary.report_sha256.as_slice())
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT INTO evidence (verdict, vm, host, affirming, judged_at_ms, report, token)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&summary.id)
    .bind(summary.vm())
    .bind(summary.host.0.as_slice())
    .bind(summary.is_affirming())
    .bind(as_integer(summary.judged_at_ms))
    .bind(&evidence.report)
    .bind(&evidence.token)
    .execute(connection)
    .await?;
    Ok(())
}
