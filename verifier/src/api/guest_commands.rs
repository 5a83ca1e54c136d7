//! What operators have enclaves do to guests: cut one from every network, or take that back.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bartizan_attestation::identity::GuestIdentity;
use bartizan_stream::message::CommandKind;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};
use utoipa::ToSchema;
use uuid::Uuid;

use super::access::Operator;
use super::input::{self, InputError, Parameters};
use super::listing::{PageQuery, PageShare, Paid};
use crate::clock::now_ms;
use crate::problem::{Problem, ProblemDocument, ProblemType};
use crate::service::Service;
use crate::storage::{
    CommandConflict, CommandTarget, GuestCommand, NewCommand, StorageError, command_word,
    outcome_word,
};
use crate::task::to_its_end;

/// How long it is waited for the enclave's answer, where it holds a stream open.
const PATIENCE: Duration = Duration::from_secs(10);

impl ProblemType for CommandConflict {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::NoHost(_) => ("no-host", StatusCode::NOT_FOUND),
            Self::TooMany => ("guest-commands-full", StatusCode::CONFLICT),
        }
    }
}

/// What an enclave is to do to a guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum CommandWord {
    /// Cut it from every network, whatever its policies allow, in this boot and those that come.
    Isolate,
    /// Take that back.
    Release,
}

/// A command to the enclave of a guest's host.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewGuestCommandDocument {
    /// The guest's URN, `urn:bartizan:guest:<card>:<vm uuid>:<boot>`; without the boot counter, whichever boot runs.
    guest: String,
    /// What.
    command: CommandWord,
    /// Why, for the auditors: 1 to 1000 bytes.
    reason: String,
}

/// A command, and what came of it.
#[derive(Serialize, ToSchema)]
pub(super) struct GuestCommandDocument {
    /// Counts all commands, from 1.
    id: u64,
    /// The guest's URN, with the boot counter where one was meant.
    guest: String,
    /// `isolate` or `release`.
    command: &'static str,
    /// `queued` until its enclave has answered; then `done`, `no-guest`, if there was none to do it to, or `failed`.
    state: &'static str,
    /// The enclave's words; null where it had none.
    detail: Option<String>,
    /// Whether the enclave of the guest's host holds a stream open.
    connected: bool,
    /// Why it was ordered.
    reason: String,
    /// By whom.
    operator: String,
    /// When, in milliseconds since the Unix epoch.
    ordered_at_ms: u64,
    /// When the enclave has answered, in milliseconds since the Unix epoch.
    answered_at_ms: Option<u64>,
}

/// Commands to enclaves.
#[derive(Serialize, ToSchema)]
pub(super) struct GuestCommandsDocument {
    /// Newest first.
    commands: Vec<GuestCommandDocument>,
    /// What `after` has to be for the next page; null on the last one.
    next: Option<String>,
}

impl GuestCommandDocument {
    fn of(service: &Service, of: GuestCommand) -> Self {
        let command = of.command;
        let target = command.target;
        let vm = Uuid::from_bytes(target.vm);
        let mut guest = format!("urn:bartizan:guest:{}:{vm}", target.card);
        if let Some(boot) = target.boot {
            guest += &format!(":{boot}");
        }
        let outcome = of
            .answer
            .as_ref()
            .map(|answer| outcome_word(answer.outcome));
        let answered_at_ms = of.answer.as_ref().map(|answer| answer.at_ms);
        let detail = of.answer.map(|answer| answer.detail);
        Self {
            id: of.id,
            guest,
            command: command_word(command.kind),
            state: outcome.unwrap_or("queued"),
            detail: detail.filter(|detail| !detail.is_empty()),
            connected: service.streams.is_open(target.card),
            reason: command.reason,
            operator: command.operator,
            ordered_at_ms: command.ordered_at_ms,
            answered_at_ms,
        }
    }
}

/// Has the enclave of a guest's host cut the guest from every network, or take that back.
///
/// Where the enclave holds a stream open its answer is waited for, 10 s at most. Otherwise the command is queued, 64 for one host at
/// most, and done once the enclave is back; none is dropped.
#[utoipa::path(
    post, path = "/v1/guest-commands", tag = "operator",
    request_body = NewGuestCommandDocument,
    responses(
        (status = 200, description = "The enclave has answered.", body = GuestCommandDocument),
        (status = 202, description = "It is queued.", body = GuestCommandDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn order(
    State(service): State<Arc<Service>>,
    operator: Operator,
    input::Json(wish, share): input::Json<NewGuestCommandDocument>,
) -> Result<Response, Problem> {
    let target = target(&wish.guest).ok_or(InputError::Field {
        field: "guest",
        expected: "urn:bartizan:guest:<card>:<vm uuid>, and optionally :<boot>",
    })?;
    if !(1..=1000).contains(&wish.reason.len()) {
        return Err(InputError::Field {
            field: "reason",
            expected: "1 to 1000 bytes",
        }
        .into());
    }
    let new = NewCommand {
        target,
        kind: match wish.command {
            CommandWord::Isolate => CommandKind::Isolate,
            CommandWord::Release => CommandKind::Release,
        },
        reason: wish.reason,
        operator: operator.name,
        ordered_at_ms: now_ms(),
    };
    let mut answers = service.streams.answers();
    let queueing = Arc::clone(&service);
    let queued = to_its_end(share, async move {
        let queued = queueing.storage.queue_command(&new).await?;
        if let Ok(id) = queued {
            queueing.streams.ordered(new.target.card);
            let (command, operator) = (command_word(new.kind), &new.operator);
            tracing::warn!(id, command, guest = wish.guest, operator, "ordered");
        }
        Ok::<_, StorageError>(queued)
    });
    let id = queued.await??;
    let until = Instant::now() + PATIENCE;
    loop {
        let command = service.storage.guest_command(id).await?;
        let command = command.ok_or(StorageError::Damaged {
            table: "guest_commands",
        })?;
        let answered = command.answer.is_some();
        let waits = !answered && service.streams.is_open(target.card);
        if waits && matches!(timeout_at(until, answers.changed()).await, Ok(Ok(()))) {
            continue;
        }
        let status = match answered {
            true => StatusCode::OK,
            false => StatusCode::ACCEPTED,
        };
        let document = GuestCommandDocument::of(&service, command);
        return Ok((status, axum::Json(document)).into_response());
    }
}

/// What operators had enclaves do to guests, newest first. Nothing is dropped from it.
#[utoipa::path(
    get, path = "/v1/guest-commands", tag = "operator",
    params(PageQuery),
    responses(
        (status = 200, body = GuestCommandsDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    _operator: Operator,
    Parameters(query): Parameters<PageQuery>,
    share: PageShare,
) -> Result<Paid, Problem> {
    let limit = share.limit(query.limit, 1000)?;
    let after = query.cursor()?;
    let page = service.storage.guest_commands(after, limit).await?;
    let last = page.rows.last().filter(|_| page.more);
    let next = last.map(|last| last.id.to_string());
    let commands = page.rows.into_iter();
    let commands = commands.map(|command| GuestCommandDocument::of(&service, command));
    Ok(share.answer(&GuestCommandsDocument {
        commands: commands.collect(),
        next,
    }))
}

fn target(guest: &str) -> Option<CommandTarget> {
    let of = |guest: GuestIdentity, boot| CommandTarget {
        card: guest.card,
        vm: guest.vm,
        boot,
    };
    if let Ok(guest) = guest.parse::<GuestIdentity>() {
        return Some(of(guest, Some(guest.boot)));
    }
    let any = format!("{guest}:1").parse::<GuestIdentity>().ok()?;
    Some(of(any, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_meant_in_one_boot_or_in_whichever_runs() {
        let vm =
            "urn:bartizan:guest:".to_owned() + &"ab".repeat(32) + ":" + &Uuid::nil().to_string();
        let of = |urn: &str| target(urn).map(|target| target.boot);
        assert_eq!(of(&vm), Some(None));
        assert_eq!(of(&format!("{vm}:7")), Some(Some(7)));
        for wrong in ["", "x", &vm[1..], &format!("{vm}:"), &format!("{vm}:7:7")] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
