//! Hosts report in with their vaults' counters; operators clear what was found to be a fork.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::rand;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use bartizan_attestation::identity::CardId;
use bartizan_attestation::vault_counter::{Statement, StatementError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::{AccessError, Host, Operator};
use super::body::Bodiless;
use super::input::{self, InputError, Segment};
use crate::binary::Binary;
use crate::clock::{now_ms, now_s};
use crate::problem::{Problem, ProblemDocument, ProblemType};
use crate::quota::CounterQuotaError;
use crate::service::Service;
use crate::storage::{Cleared, Fork, ForkSign, Reported, Reporter, StorageError};
use crate::task::{blocking, to_its_end};

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub struct Origin(pub SocketAddr);

/// What a host hands in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CounterDocument {
    /// Its vault's statement: COSE_Sign1 by its card identity key.
    statement: Binary,
}

/// What it is answered.
#[derive(Serialize, ToSchema)]
pub(super) struct MarkDocument {
    /// The statement's counter.
    counter: u64,
    /// What the next statement must show: 32 bytes.
    mark: Binary,
}

/// A vault that went on twice from one state.
#[derive(Serialize, ToSchema)]
pub(super) struct ForkDocument {
    /// What it was found by: `counter`, or `key`, which named two successors.
    sign: &'static str,
    /// Who came first, and who came then: with what had been used up, or another successor.
    reporters: [ReporterDocument; 2],
}

/// Who was heard.
#[derive(Serialize, ToSchema)]
pub(super) struct ReporterDocument {
    /// The machine's name, as its card told; absent where it did not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<String>,
    /// Its boot id: 32 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    boot: Option<String>,
    /// The address that it came from.
    address: String,
    /// When, in milliseconds since the Unix epoch.
    at_ms: u64,
}

/// A counter was not taken, or a fork not cleared.
#[derive(Debug, thiserror::Error)]
enum CounterError {
    /// The statement is not this host's vault's.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The host reports in too often.
    #[error(transparent)]
    Quota(#[from] CounterQuotaError),
    /// The random number generator failed.
    #[error("the random number generator failed; see the system's log")]
    NoRandomness,
    /// There is nothing to clear.
    #[error("the vault of card {0} was not found to be a fork; see `bartizan host list`")]
    NoFork(CardId),
    /// It was found by a key: the successor that is recorded may be the thief's.
    #[error(
        "the identity key of card {0} is in two places, and whose the successor is that is recorded is not known; revoke the card, and enrol the host anew"
    )]
    OfKey(CardId),
    /// Who of the two has the present key is not known.
    #[error(
        "the identity key of card {card} was succeeded from {address} while both of its vaults may have had the former one: the successor may be the copy's, which would then be the only host; revoke the card, and enrol the host anew"
    )]
    Succeeded {
        /// Whose fork.
        card: CardId,
        /// The address that it was asked from.
        address: String,
    },
}

impl ProblemType for CounterError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Statement(_) => ("vault-statement-refused", StatusCode::UNPROCESSABLE_ENTITY),
            Self::Quota(error) => error.kind(),
            Self::NoRandomness => ("no-randomness", StatusCode::INTERNAL_SERVER_ERROR),
            Self::NoFork(_) => ("no-fork", StatusCode::NOT_FOUND),
            Self::OfKey(_) => ("fork-of-key", StatusCode::CONFLICT),
            Self::Succeeded { .. } => ("fork-with-successor", StatusCode::CONFLICT),
        }
    }

    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Quota(error) => error.retry_after_s(),
            _ => None,
        }
    }
}

/// Takes the counter of a host's vault, and gives the mark that is due with the next one.
///
/// Whoever goes on from a state that another went on from is refused with 403 `vault-forked`, and so is everything that either asks
/// from then on.
#[utoipa::path(
    post, path = "/v1/hosts/counter", tag = "host",
    request_body = CounterDocument,
    responses(
        (status = 200, body = MarkDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn report(
    State(service): State<Arc<Service>>,
    host: Host,
    Extension(Origin(from)): Extension<Origin>,
    input::Json(handed_in, share): input::Json<CounterDocument>,
) -> Result<Json<MarkDocument>, Problem> {
    // Whose vault is a fork may not keep that from the log by going away.
    to_its_end(share, async move {
        let (signed, card, ca) = (handed_in.statement.0, host.card, service.anchors.ca());
        let verified = blocking(move || Statement::verify(&signed, card, &ca, now_s()));
        let statement = verified.await?.map_err(CounterError::from)?;
        let spent = service.counters.spend(card, from.ip(), Instant::now());
        // Nor by reporting in without end: that it is one is written once.
        if let Err(exhausted) = spent
            && !service.storage.would_be_fork(&statement).await?
        {
            return Err(Problem::from(CounterError::from(exhausted)));
        }
        let reporter = Reporter {
            machine: Some(statement.machine.clone()),
            address: from.to_string(),
            at_ms: now_ms(),
        };
        let mut next = [0; 32];
        rand::fill(&mut next).map_err(|_| CounterError::NoRandomness)?;
        let reported = service.storage.report_in(&statement, &reporter, next);
        match reported.await? {
            Reported::Mark(mark) => Ok(Json(MarkDocument {
                counter: statement.counter,
                mark: mark.to_vec().into(),
            })),
            Reported::Fork(fork) => {
                tracing::error!("{fork}");
                Err(AccessError::VaultForked(fork).into())
            }
        }
    })
    .await
}

/// Clears a fork: whoever reports in next with that card is taken.
///
/// Not one that a key was found by (409 `fork-of-key`), nor where the two can have different keys, since one was succeeded and still
/// accepted when the former reported in (409 `fork-with-successor`).
#[utoipa::path(
    delete, path = "/v1/hosts/{card}/fork", tag = "operator",
    params(("card" = String, Path, description = "The card id: 64 hexadecimal digits.")),
    responses(
        (status = 204, description = "It is cleared."),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn clear(
    State(service): State<Arc<Service>>,
    operator: Operator,
    Segment(card): Segment,
    Bodiless(share): Bodiless,
) -> Result<StatusCode, Problem> {
    let card: CardId = card.parse().map_err(|_| InputError::Field {
        field: "card",
        expected: "64 lower-case hexadecimal digits",
    })?;
    let cleared = to_its_end(share, async move {
        let (storage, operator) = (&service.storage, operator.name);
        let cleared = storage.clear_fork(card, &operator, now_ms()).await?;
        if cleared == Cleared::Done {
            tracing::warn!(%card, operator, "fork cleared");
        }
        Ok::<_, StorageError>(cleared)
    });
    match cleared.await? {
        Cleared::Done => Ok(StatusCode::NO_CONTENT),
        Cleared::NoFork => Err(CounterError::NoFork(card).into()),
        Cleared::OfKey => Err(CounterError::OfKey(card).into()),
        Cleared::Succeeded { address } => Err(CounterError::Succeeded { card, address }.into()),
    }
}

impl From<Fork> for ForkDocument {
    fn from(fork: Fork) -> Self {
        Self {
            sign: match fork.sign {
                ForkSign::Counter => "counter",
                ForkSign::Key => "key",
            },
            reporters: [fork.former.into(), fork.latter.into()],
        }
    }
}

impl From<Reporter> for ReporterDocument {
    fn from(reporter: Reporter) -> Self {
        let machine = reporter.machine;
        let boot = machine.as_ref().map(|machine| *machine.boot());
        Self {
            machine: machine.map(|machine| machine.name().to_owned()),
            boot: boot.map(|boot| format!("{:032x}", u128::from_be_bytes(boot))),
            address: reporter.address,
            at_ms: reporter.at_ms,
        }
    }
}
