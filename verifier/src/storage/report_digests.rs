//! Digests of the reports of verdicts that were written before digests were: SQL cannot make them.

use bartizan_attestation::digest::sha256;
use sqlx::sqlite::SqlitePool;
use sqlx::{Row as _, SqliteConnection};

/// Adds what is missing, a report at a time.
pub(super) async fn add_missing(writer: &SqlitePool) -> Result<(), sqlx::Error> {
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
    let mut last = 0;
    while let Some(number) = add_next(&mut transaction, last).await? {
        last = number;
    }
    transaction.commit().await
}

async fn add_next(
    connection: &mut SqliteConnection,
    after: i64,
) -> Result<Option<i64>, sqlx::Error> {
    let next = sqlx::query(
        "SELECT number, verdict, report FROM evidence
         WHERE number > ? AND verdict IN (SELECT id FROM verdicts WHERE report_sha256 IS NULL)
         ORDER BY number LIMIT 1",
    )
    .bind(after)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = next else {
        return Ok(None);
    };
    let report: &[u8] = row.try_get("report")?;
    sqlx::query("UPDATE verdicts SET report_sha256 = ? WHERE id = ?")
        .bind(sha256(report).as_slice())
        .bind(row.try_get::<&str, _>("verdict")?)
        .execute(&mut *connection)
        .await?;
    Ok(Some(row.try_get("number")?))
}
