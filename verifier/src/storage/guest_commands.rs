//! What operators have enclaves do to guests: queued until the enclave has answered, and kept from then on.

use std::num::NonZeroU64;

use bartizan_attestation::identity::CardId;
use bartizan_stream::message::{CommandKind, CommandOutcome, Guest};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::enrolment::card_id;
use super::page::{CHUNK, Reading};
use super::{Page, PageLimit, Storage, StorageError, as_blob, as_integer, as_unsigned, from_blob};

/// Most commands that wait for one enclave.
const WAITING: i64 = 64;

/// Which guest: in one boot, or in whichever runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommandTarget {
    /// The host's card.
    pub card: CardId,
    /// The VM's UUID.
    pub vm: [u8; 16],
    /// Its boot counter; `None` is whichever runs.
    pub boot: Option<u64>,
}

/// A command that is to be queued.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewCommand {
    /// To whom.
    pub target: CommandTarget,
    /// What.
    pub kind: CommandKind,
    /// Why, for people.
    pub reason: String,
    /// Who orders it.
    pub operator: String,
    /// When, in milliseconds since the Unix epoch.
    pub ordered_at_ms: u64,
}

/// A command as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GuestCommand {
    /// Counts all commands, from 1.
    pub id: u64,
    /// Its number among those to its enclave.
    pub number: NonZeroU64,
    /// It.
    pub command: NewCommand,
    /// What its enclave has answered; `None` while it waits.
    pub answer: Option<CommandAnswer>,
}

/// What came of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandAnswer {
    /// In a word.
    pub outcome: CommandOutcome,
    /// The enclave's words; empty where it had none.
    pub detail: String,
    /// When that was heard, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// A command is not queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommandConflict {
    /// Nobody knows that host.
    #[error("no host has the card {0}; see GET /v1/hosts")]
    NoHost(CardId),
    /// As many wait as may.
    #[error(
        "{WAITING} commands wait for the enclave of this host, which is away; see GET /v1/guest-commands, and that its host is well"
    )]
    TooMany,
}

const DAMAGED: StorageError = StorageError::Damaged {
    table: "guest_commands",
};

impl Storage {
    /// Queues a command; answers with its id.
    pub async fn queue_command(
        &self,
        new: &NewCommand,
    ) -> Result<Result<u64, CommandConflict>, StorageError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let card = new.target.card;
        let known: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM hosts WHERE card = ?1)
                 OR EXISTS (SELECT 1 FROM policy_reports WHERE card = ?1)",
        )
        .bind(card.0.as_slice())
        .fetch_one(&mut *transaction)
        .await?;
        if !known {
            return Ok(Err(CommandConflict::NoHost(card)));
        }
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM guest_commands WHERE card = ? AND outcome IS NULL",
        )
        .bind(card.0.as_slice())
        .fetch_one(&mut *transaction)
        .await?;
        if waiting >= WAITING {
            return Ok(Err(CommandConflict::TooMany));
        }
        let id: i64 = sqlx::query_scalar(
            "INSERT INTO guest_commands (card, number, vm, boot, command, reason, operator, ordered_at_ms)
             VALUES (?1, max(?2, coalesce((SELECT max(number) FROM guest_commands WHERE card = ?1), 0) + 1),
                 ?3, ?4, ?5, ?6, ?7, ?8)
             RETURNING id",
        )
        .bind(card.0.as_slice())
        .bind(as_integer(new.ordered_at_ms / 1000))
        .bind(new.target.vm.as_slice())
        .bind(new.target.boot.map(|boot| as_blob(boot).to_vec()))
        .bind(command_word(new.kind))
        .bind(&new.reason)
        .bind(&new.operator)
        .bind(as_integer(new.ordered_at_ms))
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Ok(as_unsigned(id)))
    }

    /// The command that an enclave is to be sent next.
    pub async fn next_command(&self, card: CardId) -> Result<Option<GuestCommand>, StorageError> {
        let next = sqlx::query(
            "SELECT * FROM guest_commands WHERE card = ? AND outcome IS NULL ORDER BY number LIMIT 1",
        )
        .bind(card.0.as_slice())
        .fetch_optional(&self.readers)
        .await?;
        next.as_ref().map(read).transpose()
    }

    /// Keeps what came of a command.
    pub async fn command_answered(
        &self,
        card: CardId,
        number: NonZeroU64,
        answer: &CommandAnswer,
    ) -> Result<(), StorageError> {
        sqlx::query(
            "UPDATE guest_commands SET outcome = ?, detail = ?, answered_at_ms = ?
             WHERE card = ? AND number = ? AND outcome IS NULL",
        )
        .bind(outcome_word(answer.outcome))
        .bind(&answer.detail)
        .bind(as_integer(answer.at_ms))
        .bind(card.0.as_slice())
        .bind(as_integer(number.get()))
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// A command.
    pub async fn guest_command(&self, id: u64) -> Result<Option<GuestCommand>, StorageError> {
        let found = sqlx::query("SELECT * FROM guest_commands WHERE id = ?")
            .bind(as_integer(id))
            .fetch_optional(&self.readers)
            .await?;
        found.as_ref().map(read).transpose()
    }

    /// Commands, newest first, those of a lower id than `before`.
    pub async fn guest_commands(
        &self,
        before: Option<u64>,
        limit: PageLimit,
    ) -> Result<Page<GuestCommand>, StorageError> {
        let mut reading = Reading::<GuestCommand>::new(limit);
        loop {
            let before = reading.last().map(|last| last.id).or(before);
            let chunk = sqlx::query(
                "SELECT * FROM guest_commands WHERE ?1 IS NULL OR id < ?1 ORDER BY id DESC LIMIT ?2",
            )
            .bind(before.map(as_integer))
            .bind(CHUNK)
            .fetch_all(&self.readers)
            .await?;
            let chunk = chunk.iter().map(read).collect::<Result<_, _>>()?;
            match reading.add(chunk, GuestCommand::size) {
                Ok(page) => return Ok(page),
                Err(more) => reading = more,
            }
        }
    }
}

impl CommandTarget {
    /// As an enclave is told it.
    #[must_use]
    pub fn guest(&self) -> Guest {
        Guest {
            vm: self.vm,
            boot: self.boot.unwrap_or(0),
        }
    }
}

impl GuestCommand {
    /// What it takes in memory, in bytes.
    fn size(&self) -> usize {
        let detail = self.answer.as_ref().map_or(0, |answer| answer.detail.len());
        self.command.reason.len() + self.command.operator.len() + detail + size_of::<Self>()
    }
}

/// The word in the database and the API.
#[must_use]
pub const fn command_word(kind: CommandKind) -> &'static str {
    match kind {
        CommandKind::Isolate => "isolate",
        CommandKind::Release => "release",
    }
}

/// The word in the database and the API.
#[must_use]
pub const fn outcome_word(outcome: CommandOutcome) -> &'static str {
    match outcome {
        CommandOutcome::Done => "done",
        CommandOutcome::NoGuest => "no-guest",
        CommandOutcome::Failed => "failed",
    }
}

fn read(row: &SqliteRow) -> Result<GuestCommand, StorageError> {
    let kind = match row.try_get("command")? {
        "isolate" => CommandKind::Isolate,
        "release" => CommandKind::Release,
        _ => return Err(DAMAGED),
    };
    let outcome = match row.try_get::<Option<&str>, _>("outcome")? {
        None => None,
        Some("done") => Some(CommandOutcome::Done),
        Some("no-guest") => Some(CommandOutcome::NoGuest),
        Some("failed") => Some(CommandOutcome::Failed),
        Some(_) => return Err(DAMAGED),
    };
    let answer = match outcome {
        None => None,
        Some(outcome) => Some(CommandAnswer {
            outcome,
            detail: row
                .try_get::<Option<String>, _>("detail")?
                .unwrap_or_default(),
            at_ms: as_unsigned(row.try_get("answered_at_ms")?),
        }),
    };
    let vm: &[u8] = row.try_get("vm")?;
    let boot: Option<&[u8]> = row.try_get("boot")?;
    let boot = boot
        .map(|boot| from_blob(boot).ok_or(DAMAGED))
        .transpose()?;
    let number = as_unsigned(row.try_get("number")?);
    Ok(GuestCommand {
        id: as_unsigned(row.try_get("id")?),
        number: NonZeroU64::new(number).ok_or(DAMAGED)?,
        command: NewCommand {
            target: CommandTarget {
                card: card_id(row.try_get("card")?, "guest_commands")?,
                vm: vm.try_into().map_err(|_| DAMAGED)?,
                boot,
            },
            kind,
            reason: row.try_get("reason")?,
            operator: row.try_get("operator")?,
            ordered_at_ms: as_unsigned(row.try_get("ordered_at_ms")?),
        },
        answer,
    })
}
