//! A durable commit of one verdict, alone: the verifier's schema and settings, on the disk of its database.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use bartizan_attestation::digest::sha256;
use bartizan_attestation::identity::GuestIdentity;
use bartizan_measuring::timed;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

use crate::exchange::Granted;

/// The verifier's schema.
const MIGRATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../verifier/migrations");

/// A database like the verifier's.
pub(crate) struct Database {
    runtime: Runtime,
    connection: SqliteConnection,
}

impl Database {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let connection = runtime.block_on(async {
            let mut connection = options.connect().await?;
            Migrator::new(Path::new(MIGRATIONS))
                .await?
                .run(&mut connection)
                .await?;
            anyhow::Ok(connection)
        })?;
        Ok(Self {
            runtime,
            connection,
        })
    }

    /// How long it takes until a verdict of this size is on the disk.
    pub(crate) fn commit(&mut self, guest: &GuestIdentity, granted: &Granted) -> Result<Duration> {
        let connection = &mut self.connection;
        timed(|| self.runtime.block_on(write(connection, guest, granted)))
    }
}

async fn write(
    connection: &mut SqliteConnection,
    guest: &GuestIdentity,
    granted: &Granted,
) -> Result<()> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query(
        "INSERT INTO boots (card, vm, boot) VALUES (?, ?, ?)
         ON CONFLICT (card, vm) DO UPDATE SET boot = excluded.boot WHERE excluded.boot >= boot",
    )
    .bind(guest.card.0.as_slice())
    .bind(guest.vm.as_slice())
    .bind(guest.boot.to_be_bytes().as_slice())
    .execute(&mut *transaction)
    .await?;
    let verdict = Uuid::new_v4().to_string();
    sqlx::query(
        "INSERT INTO verdicts (id, judged_at_ms, guest, host, application, profile_revision, status,
                               reasons, report_sha256)
         VALUES (?, 0, ?, ?, 'bench', NULL, 'none', '{}', ?)",
    )
    .bind(&verdict)
    .bind(guest.to_string())
    .bind(guest.card.0.as_slice())
    .bind(sha256(&granted.report).as_slice())
    .execute(&mut *transaction)
    .await?;
    sqlx::query(
        "INSERT INTO evidence (verdict, vm, host, affirming, judged_at_ms, report, token)
         VALUES (?, ?, ?, 0, 0, ?, ?)",
    )
    .bind(&verdict)
    .bind(guest.to_string())
    .bind(guest.card.0.as_slice())
    .bind(granted.report.as_slice())
    .bind(granted.token.as_str())
    .execute(&mut *transaction)
    .await?;
    Ok(transaction.commit().await?)
}
