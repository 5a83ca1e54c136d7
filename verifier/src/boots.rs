//! Judging how a host was booted: from its event log to the releases that it is of.
//!
//! ```text
//!  log ─a walk through releases in force─► phases ─those of the host's own certificate?─► kept
//! ```
//!
//! A certificate by a card carries the register's values at the end of each phase of its host's boot, and the card's vault
//! certifies none but those of the boot that it was told of itself. So the log, which nobody signs, is believed where it
//! replays to what the certificate says.

use std::sync::Arc;

use axum::http::StatusCode;
use bartizan_attestation::boot::{BootAppraisalError, EventLog, LogError, Phase, Sha384};
use bartizan_attestation::identity::CardId;

use crate::clock::now_ms;
use crate::problem::ProblemType;
use crate::service::Service;
use crate::storage::{BootedRelease, HostBoot, StorageError};

/// A boot is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The log is none.
    #[error("the event log is refused: {0}")]
    Log(#[from] LogError),
    /// The log is of no boot that is allowed.
    #[error(transparent)]
    Appraisal(#[from] BootAppraisalError),
    /// It is not the log of the boot that the certificate is of.
    #[error(
        "the event log is not of the boot that this host's certificate is of: the certificate says {certified}, the log {logged}"
    )]
    OtherBoot {
        /// What the certificate says, in phases and digests.
        certified: String,
        /// What the log comes to.
        logged: String,
    },
    /// It has not come far enough.
    #[error("the boot has not ended phase {due} yet; hand its log in again when it has")]
    UnderWay {
        /// The phase that must have ended.
        due: Phase,
    },
    /// The host's boot is not one that was accepted.
    #[error(
        "host {card} was not booted from releases that are registered and in force: {}; hand in the log of its boot, and see `bartizan release list`",
        named(.phases)
    )]
    NotAccepted {
        /// The host's card.
        card: CardId,
        /// The phases that its certificate names.
        phases: Vec<Sha384>,
    },
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The service is ending.
    #[error("the verifier is shutting down; try again")]
    Stopped,
}

impl ProblemType for BootError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Log(_) => ("boot-log-malformed", StatusCode::UNPROCESSABLE_ENTITY),
            Self::Appraisal(BootAppraisalError::UnknownRelease { .. }) => {
                ("boot-release-unknown", StatusCode::FORBIDDEN)
            }
            Self::Appraisal(BootAppraisalError::Stopped { .. }) => {
                ("boot-stopped", StatusCode::FORBIDDEN)
            }
            Self::Appraisal(_) => ("boot-refused", StatusCode::FORBIDDEN),
            Self::OtherBoot { .. } => ("boot-not-certified", StatusCode::FORBIDDEN),
            Self::UnderWay { .. } => ("boot-under-way", StatusCode::CONFLICT),
            Self::NotAccepted { .. } => ("boot-not-accepted", StatusCode::FORBIDDEN),
            Self::Storage(error) => error.kind(),
            Self::Stopped => ("stopping", StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::UnderWay { .. } => Some(1),
            Self::Storage(error) => error.retry_after_s(),
            _ => None,
        }
    }
}

/// Judges the log of a boot that a host has handed in over a connection whose certificate says `certified`, and keeps it.
pub async fn accept(
    service: &Arc<Service>,
    card: CardId,
    certified: &[Sha384],
    log: Vec<u8>,
) -> Result<[Sha384; 2], BootError> {
    let read = EventLog::from_cbor(&log)?;
    // A boot has two releases; a log that says more is none.
    let named: Vec<_> = read.releases().copied().take(2).collect();
    let known = service.storage.releases_in_force(&named).await?;
    let appraised = tokio::task::spawn_blocking(move || read.appraise(&known))
        .await
        .map_err(|_| BootError::Stopped)??;
    if appraised.phases() != certified {
        return Err(BootError::OtherBoot {
            certified: self::named(certified),
            logged: self::named(appraised.phases()),
        });
    }
    let due = Phase::Hypervisor;
    let &[base, bundle] = appraised.releases() else {
        return Err(BootError::UnderWay { due });
    };
    if appraised.completed() < Some(due) {
        return Err(BootError::UnderWay { due });
    }
    let boot = HostBoot {
        phases: certified.to_vec(),
        releases: [base, bundle],
        appraised_at_ms: now_ms(),
    };
    service.storage.add_host_boot(card, &boot, &log).await?;
    tracing::info!(%card, %base, %bundle, "boot accepted");
    Ok(boot.releases)
}

/// The releases that a host with a certificate of these phases was booted from; `None` where no boot need be measured
/// and this one was not, or is of no release that is registered.
pub async fn releases(
    service: &Service,
    card: CardId,
    phases: &[Sha384],
) -> Result<Option<[BootedRelease; 2]>, BootError> {
    // Before that phase has ended the host may still be stopped.
    let far_enough = phases.len() >= usize::from(Phase::Hypervisor.number());
    let found = match far_enough {
        true => service.storage.releases_of_boot(card, phases).await?,
        false => None,
    };
    if found.is_none() && service.config.measured_boot.is_demanded() {
        return Err(BootError::NotAccepted {
            card,
            phases: phases.to_vec(),
        });
    }
    Ok(found)
}

/// Phases for people: `card 1f3a…, devices 22c0…`.
fn named(phases: &[Sha384]) -> String {
    if phases.is_empty() {
        return "no measured phase".into();
    }
    let named = Phase::ALL.into_iter().zip(phases);
    let named: Vec<_> = named
        .map(|(phase, digest)| format!("{} {digest}", phase.name()))
        .collect();
    named.join(", ")
}
