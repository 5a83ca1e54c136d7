//! Why the database failed.

use std::path::PathBuf;
use std::sync::Arc;

use axum::http::StatusCode;
use bartizan_attestation::boot::Sha384;

use crate::problem::ProblemType;
use crate::task::TaskError;

/// The database failed. Sources are shared: one failed commit is the failure of all in its group.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StorageError {
    /// The file could not be opened or made.
    #[error(
        "the database {path} cannot be opened: {source}; check `database` and its directory's owner"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Arc<sqlx::Error>,
    },
    /// The file is of another version, or no database of a verifier.
    #[error("the database {path} cannot be brought to this version: {source}")]
    Migrate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Arc<sqlx::migrate::MigrateError>,
    },
    /// A statement failed.
    #[error("the database failed: {0}; nothing was granted or changed, try again")]
    Query(Arc<sqlx::Error>),
    /// A row does not hold what this program wrote.
    #[error("a row of table `{table}` is damaged; restore the database from a backup")]
    Damaged {
        /// The table.
        table: &'static str,
    },
    /// A release that is registered, and that an earlier version took.
    #[error(
        "the registered release {manifest} is none that this version takes: {why}; sign it anew, register that, and retire this one"
    )]
    ReleaseRefused {
        /// Its manifest.
        manifest: Sha384,
        /// Why.
        why: String,
    },
    /// The work with it was not ended.
    #[error(transparent)]
    Task(#[from] TaskError),
}

impl From<sqlx::Error> for StorageError {
    fn from(error: sqlx::Error) -> Self {
        Self::Query(Arc::new(error))
    }
}

impl ProblemType for StorageError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Open { .. } | Self::Migrate { .. } | Self::Query(_) => {
                ("storage-unavailable", StatusCode::SERVICE_UNAVAILABLE)
            }
            Self::ReleaseRefused { .. } => ("release-refused", StatusCode::CONFLICT),
            Self::Damaged { .. } => ("storage-damaged", StatusCode::INTERNAL_SERVER_ERROR),
            Self::Task(error) => error.kind(),
        }
    }

    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Open { .. } | Self::Migrate { .. } | Self::Query(_) => Some(1),
            Self::ReleaseRefused { .. } | Self::Damaged { .. } => None,
            Self::Task(error) => error.retry_after_s(),
        }
    }
}
