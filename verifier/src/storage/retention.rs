//! Dropping evidence: reports and tokens of verdicts that are old, or that many others followed.
//!
//! The counts per VM and per host are kept with every verdict that is written, in its own transaction,
//! so that they hold at any time. Age is looked at every minute, a batch at a time, between the commits of
//! verdicts: the one task that writes does both, and a batch is small enough not to be noticed.
//!
//! Ages are by the clock as it was when the service started and the time since, so that a clock that
//! jumps while it runs drops nothing.

use std::time::{Duration, Instant};

use sqlx::{Row as _, SqliteConnection};

use super::{Storage, StorageError, Verdict, as_integer};
use crate::clock::now_ms;
use crate::config::{Keep, Retention};

/// Most that one batch drops.
pub(super) const BATCH_ROWS: u32 = 64;
/// No more is dropped in a batch that has dropped so many bytes.
const BATCH_BYTES: i64 = 4 << 20;
/// Most that are dropped for one that is written: more only if the policy became stricter.
const PER_WRITE: u32 = 2;
/// Between two looks at the ages.
const LOOK: Duration = Duration::from_secs(60);
/// Between two batches, where there is more to drop.
const BREATH: Duration = Duration::from_millis(100);

/// Drops what the policy says.
#[derive(Debug)]
pub(super) struct Dropper {
    policy: Retention,
    started: Instant,
    started_at_ms: u64,
}

impl Dropper {
    pub(super) fn new(policy: Retention) -> Self {
        Self {
            policy,
            started: Instant::now(),
            started_at_ms: now_ms(),
        }
    }

    /// Drops the evidence that a verdict just written pushed beyond the counts of its VM and its host.
    pub(super) async fn make_room(
        &self,
        connection: &mut SqliteConnection,
        verdict: &Verdict,
    ) -> Result<(), sqlx::Error> {
        let summary = &verdict.summary;
        let keep = self.keep(summary.is_affirming());
        let beyond_vm = sqlx::query_scalar(
            "SELECT number FROM evidence WHERE vm = ? AND affirming = ?
             ORDER BY number DESC LIMIT ? OFFSET ?",
        )
        .bind(summary.vm())
        .bind(summary.is_affirming())
        .bind(PER_WRITE)
        .bind(keep.per_guest);
        for number in beyond_vm.fetch_all(&mut *connection).await? {
            self.drop_one(connection, number).await?;
        }
        let beyond_host = sqlx::query_scalar(
            "SELECT number FROM evidence WHERE host = ? AND affirming = ?
             ORDER BY number DESC LIMIT ? OFFSET ?",
        )
        .bind(summary.host.0.as_slice())
        .bind(summary.is_affirming())
        .bind(PER_WRITE)
        .bind(keep.per_host);
        for number in beyond_host.fetch_all(&mut *connection).await? {
            self.drop_one(connection, number).await?;
        }
        Ok(())
    }

    /// Drops a batch of what is too old; says after how long to come again.
    pub(super) async fn drop_aged(&self, storage: &Storage) -> Duration {
        match self.drop_batch(storage).await {
            Ok(true) => BREATH,
            Ok(false) => LOOK,
            Err(error) => {
                tracing::error!(%error, "old reports could not be dropped; trying again");
                LOOK
            }
        }
    }

    /// Drops a batch; says whether there may be more.
    async fn drop_batch(&self, storage: &Storage) -> Result<bool, StorageError> {
        let mut transaction = storage.writer.begin_with("BEGIN IMMEDIATE").await?;
        let (mut rows, mut bytes) = (0, 0);
        for affirming in [true, false] {
            let age_ms = self.keep(affirming).age_s.saturating_mul(1000);
            let aged = sqlx::query(
                "SELECT number, length(report) + length(token) AS size FROM evidence
                 WHERE affirming = ? AND judged_at_ms < ? ORDER BY judged_at_ms LIMIT ?",
            )
            .bind(affirming)
            .bind(as_integer(self.now_ms().saturating_sub(age_ms)))
            .bind(BATCH_ROWS - rows)
            .fetch_all(&mut *transaction)
            .await?;
            for row in aged {
                if bytes >= BATCH_BYTES {
                    break;
                }
                self.drop_one(&mut transaction, row.try_get("number")?)
                    .await?;
                rows += 1;
                bytes += row.try_get::<i64, _>("size")?;
            }
        }
        transaction.commit().await?;
        if rows > 0 {
            tracing::info!(verdicts = rows, bytes, "reports dropped for their age");
        }
        Ok(rows >= BATCH_ROWS || bytes >= BATCH_BYTES)
    }

    async fn drop_one(
        &self,
        connection: &mut SqliteConnection,
        number: i64,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "UPDATE verdicts SET evidence_dropped_at_ms = ?
             WHERE id = (SELECT verdict FROM evidence WHERE number = ?)",
        )
        .bind(as_integer(self.now_ms()))
        .bind(number)
        .execute(&mut *connection)
        .await?;
        sqlx::query("DELETE FROM evidence WHERE number = ?")
            .bind(number)
            .execute(&mut *connection)
            .await?;
        Ok(())
    }

    const fn keep(&self, affirming: bool) -> Keep {
        if affirming {
            self.policy.affirming
        } else {
            self.policy.others
        }
    }

    fn now_ms(&self) -> u64 {
        let since = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.started_at_ms.saturating_add(since)
    }
}
