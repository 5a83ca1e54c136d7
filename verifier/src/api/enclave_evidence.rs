//! What the enclave of a host stated, as it was verified when it came.

use std::sync::Arc;

use axum::extract::State;
use bartizan_attestation::evidence::{Event, Evidence, Guest, Taken, What};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::access::Operator;
use super::boots::card_id;
use super::input::{Parameters, Segment};
use super::listing::{PageQuery, PageShare, Paid};
use crate::problem::{Problem, ProblemDocument};
use crate::service::Service;
use crate::storage::KeptEvidence;

/// Pieces of evidence, the newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct EnclaveEvidenceDocument {
    evidence: Vec<PieceDocument>,
    /// What `after` has to be for the next page; null on the last one.
    next: Option<String>,
}

/// A piece.
#[derive(Serialize, ToSchema)]
struct PieceDocument {
    /// Whose numbers it has: 32 hexadecimal digits.
    source: String,
    /// Its number.
    sequence: u64,
    /// When it was received, in milliseconds since the Unix epoch.
    received_at_ms: u64,
    /// Why nothing of it may be believed; null where it was verified.
    refused: Option<String>,
    /// When it was signed, in seconds since the Unix epoch; null where it was refused.
    issued_at: Option<u64>,
    /// What happened, in order; empty where it was refused.
    events: Vec<EventDocument>,
    /// Events that the enclave had no room for; null where it was refused.
    dropped: Option<u64>,
}

/// Something that happened.
#[derive(Serialize, ToSchema)]
struct EventDocument {
    /// When, in seconds since the Unix epoch.
    at: u64,
    #[serde(flatten)]
    what: WhatDocument,
}

/// What happened.
#[derive(Serialize, ToSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum WhatDocument {
    /// The enclave's machine was started; with the set of policies that ruled from the first on.
    Started { set: Option<u64> },
    /// Every packet is judged by a set.
    InForce { set: u64, digest: String },
    /// A set was refused.
    SetRefused { set: u64, why: String },
    /// A VM was cut from every network, or that was taken back.
    Isolation {
        vm: String,
        isolated: bool,
        order: u64,
    },
    /// A guest is taken for `none`, `affirming` or `contraindicated`.
    Trust {
        vm: String,
        boot: u64,
        taken_for: &'static str,
    },
    /// Decisions that denied flows of a guest.
    Denied {
        vm: String,
        boot: u64,
        decisions: u64,
        by: String,
    },
}

/// What the enclave of a host stated, the newest first: the last 4096 pieces are kept, 16 MiB at most.
#[utoipa::path(
    get, path = "/v1/hosts/{card}/evidence", tag = "operator",
    params(("card" = String, Path, description = "The host's card id."), PageQuery),
    responses(
        (status = 200, body = EnclaveEvidenceDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    _operator: Operator,
    Segment(card): Segment,
    Parameters(query): Parameters<PageQuery>,
    share: PageShare,
) -> Result<Paid, Problem> {
    let limit = share.limit(query.limit, 1000)?;
    let (card, after) = (card_id(&card)?, query.cursor()?);
    let page = service.storage.host_evidence(card, after, limit).await?;
    let next = page.rows.last().filter(|_| page.more);
    let next = next.map(|piece| piece.number.to_string());
    Ok(share.answer(&EnclaveEvidenceDocument {
        evidence: page.rows.into_iter().map(Into::into).collect(),
        next,
    }))
}

impl From<KeptEvidence> for PieceDocument {
    fn from(of: KeptEvidence) -> Self {
        // It was verified when it came: what can be read of it is what it says.
        let (believed, refused) = match of.refused {
            Some(why) => (None, Some(why)),
            None => match Evidence::unverified(&of.signed) {
                Ok(evidence) => (Some(evidence), None),
                Err(error) => (None, Some(error.to_string())),
            },
        };
        let (issued_at, statement) = believed
            .map(|evidence| (evidence.issued_at, evidence.statement))
            .unzip();
        Self {
            source: hex::encode(of.source.0),
            sequence: of.sequence,
            received_at_ms: of.received_at_ms,
            refused,
            issued_at,
            dropped: statement.as_ref().map(|statement| statement.dropped),
            events: statement
                .map(|statement| statement.events)
                .unwrap_or_default()
                .into_iter()
                .map(Into::into)
                .collect(),
        }
    }
}

impl From<Event> for EventDocument {
    fn from(Event { at, what }: Event) -> Self {
        let what = match what {
            What::Started { set } => WhatDocument::Started {
                set: set.map(Into::into),
            },
            What::InForce { set, digest } => WhatDocument::InForce {
                set: set.get(),
                digest: digest.to_string(),
            },
            What::SetRefused { set, why } => WhatDocument::SetRefused {
                set: set.get(),
                why,
            },
            What::Isolation {
                vm,
                isolated,
                order,
            } => WhatDocument::Isolation {
                vm: Uuid::from_bytes(vm).to_string(),
                isolated,
                order: order.get(),
            },
            What::Trust { guest, taken_for } => {
                let (vm, boot) = of_guest(guest);
                WhatDocument::Trust {
                    vm,
                    boot,
                    taken_for: match taken_for {
                        Taken::None => "none",
                        Taken::Affirming => "affirming",
                        Taken::Contraindicated => "contraindicated",
                    },
                }
            }
            What::Denied {
                guest,
                decisions,
                by,
            } => {
                let (vm, boot) = of_guest(guest);
                WhatDocument::Denied {
                    vm,
                    boot,
                    decisions: decisions.get(),
                    by,
                }
            }
        };
        Self { at, what }
    }
}

fn of_guest(guest: Guest) -> (String, u64) {
    (Uuid::from_bytes(guest.vm).to_string(), guest.boot)
}
