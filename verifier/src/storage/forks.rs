//! Vaults that went on twice from one state: what one has used up, another used again.

use std::fmt;

use bartizan_attestation::identity::CardId;
use bartizan_attestation::vault_counter::Machine;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::card_keys::KeyId;
use super::decisions::{self, Decision, DecisionKind};
use super::enrolment::card_id;
use super::revocations::RevocationKind;
use super::{Storage, StorageError, as_integer, as_unsigned};

/// Forks that are listed at most.
const MOST_FORKS: u32 = 10_000;

/// Who was heard, from where, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reporter {
    /// The machine, as its card told; none, where it did not say.
    pub machine: Option<Machine>,
    /// The address that it came from.
    pub address: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// What a fork was found by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForkSign {
    /// A counter went on from a state that had been gone on from.
    Counter,
    /// A card identity key named two successors.
    Key,
}

/// A vault that went on twice from one state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fork {
    /// Whose vault it is.
    pub card: CardId,
    /// What it was found by.
    pub sign: ForkSign,
    /// Who came first: had reported in last, or named the first successor.
    pub former: Reporter,
    /// Who came then.
    pub latter: Reporter,
}

/// What came of the wish to take a fork for none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cleared {
    /// It is done.
    Done,
    /// It is none.
    NoFork,
    /// A key is in two places: whose the recorded successor is nobody knows.
    OfKey,
    /// The key was succeeded, and the former one still accepted when the two reported in: whoever did that may be the copy.
    Succeeded {
        /// The address that it was asked from.
        address: String,
    },
}

impl Storage {
    /// Records that a card's key names two successors; answers what is recorded. In the place of a fork that a counter was found by,
    /// which could be cleared.
    pub async fn fork_of_key(
        &self,
        card: CardId,
        key: &KeyId,
        from: &Reporter,
    ) -> Result<Fork, StorageError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        if let Some(known) = of(&mut transaction, card).await?
            && known.sign == ForkSign::Key
        {
            return Ok(known);
        }
        let first = sqlx::query(
            "SELECT coalesce(address, 'unknown') AS address, superseded_at_ms
             FROM superseded_card_keys WHERE card_key = ?",
        )
        .bind(key.as_slice())
        .fetch_one(&mut *transaction)
        .await?;
        let fork = Fork {
            card,
            sign: ForkSign::Key,
            former: Reporter {
                machine: None,
                address: first.try_get("address")?,
                at_ms: as_unsigned(first.try_get("superseded_at_ms")?),
            },
            latter: from.clone(),
        };
        insert(&mut transaction, &fork).await?;
        transaction.commit().await?;
        Ok(fork)
    }

    /// Whether the vault of this card was found to be a fork.
    pub async fn fork_of(&self, card: CardId) -> Result<Option<Fork>, StorageError> {
        let mut reader = self.readers.acquire().await?;
        of(&mut reader, card).await
    }

    /// All forks, the first 10,000 by card.
    pub async fn forks(&self) -> Result<Vec<Fork>, StorageError> {
        let forks = sqlx::query("SELECT * FROM vault_forks ORDER BY card LIMIT ?")
            .bind(MOST_FORKS)
            .fetch_all(&self.readers)
            .await?;
        forks.iter().map(read).collect()
    }

    /// How many forks there are of cards that are not revoked: others are done with.
    pub async fn count_forks(&self) -> Result<u64, StorageError> {
        let count = sqlx::query_scalar(
            "SELECT count(*) FROM vault_forks WHERE lower(hex(card)) NOT IN
                 (SELECT subject FROM revocations WHERE kind = 'host')",
        )
        .fetch_one(&self.readers)
        .await?;
        Ok(as_unsigned(count))
    }

    /// Takes a vault for no fork any more, by an operator, and forgets its counter: whoever reports in next is taken. Not so where a
    /// key named two successors, or the two can have different keys.
    pub async fn clear_fork(
        &self,
        card: CardId,
        operator: &str,
        now_ms: u64,
    ) -> Result<Cleared, StorageError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let Some(fork) = of(&mut transaction, card).await? else {
            return Ok(Cleared::NoFork);
        };
        match fork.sign {
            ForkSign::Key => return Ok(Cleared::OfKey),
            ForkSign::Counter => {}
        }
        if let Some(address) = succeeded_meanwhile(&mut transaction, &fork).await? {
            return Ok(Cleared::Succeeded { address });
        }
        for forget in [
            "DELETE FROM vault_forks WHERE card = ?",
            "DELETE FROM vault_counters WHERE card = ?",
        ] {
            sqlx::query(forget)
                .bind(card.0.as_slice())
                .execute(&mut *transaction)
                .await?;
        }
        let decision = Decision {
            at_ms: now_ms,
            operator: operator.into(),
            what: DecisionKind::ForkCleared,
            kind: RevocationKind::Host,
            subject: card.to_string(),
            why: Some(format!("{}, then {}", fork.former, fork.latter)),
        };
        decisions::insert(&mut transaction, &decision).await?;
        transaction.commit().await?;
        Ok(Cleared::Done)
    }
}

/// From where a key was succeeded that was still accepted when the former of the two reported in. Where there is none, both had the
/// present key: no other was accepted.
async fn succeeded_meanwhile(
    connection: &mut SqliteConnection,
    fork: &Fork,
) -> Result<Option<String>, StorageError> {
    let address = sqlx::query_scalar(
        "SELECT coalesce(address, 'unknown') FROM superseded_card_keys
         WHERE card = ? AND accepted_until_ms > ? ORDER BY superseded_at_ms DESC LIMIT 1",
    )
    .bind(fork.card.0.as_slice())
    .bind(as_integer(fork.former.at_ms));
    Ok(address.fetch_optional(connection).await?)
}

/// The fork that a card's vault was found to be.
pub(super) async fn of(
    connection: &mut SqliteConnection,
    card: CardId,
) -> Result<Option<Fork>, StorageError> {
    let fork = sqlx::query("SELECT * FROM vault_forks WHERE card = ?")
        .bind(card.0.as_slice())
        .fetch_optional(connection)
        .await?;
    fork.as_ref().map(read).transpose()
}

pub(super) async fn insert(
    connection: &mut SqliteConnection,
    fork: &Fork,
) -> Result<(), StorageError> {
    let Fork {
        card,
        sign,
        former,
        latter,
    } = fork;
    let boot = |reporter: &Reporter| {
        let machine = reporter.machine.as_ref();
        machine.map(|machine| machine.boot().to_vec())
    };
    sqlx::query(
        "INSERT OR REPLACE INTO vault_forks
             (card, of_key, former_machine, former_boot, former_address, former_at_ms, machine, boot,
              address, found_at_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(card.0.as_slice())
    .bind(*sign == ForkSign::Key)
    .bind(former.machine.as_ref().map(Machine::name))
    .bind(boot(former))
    .bind(&former.address)
    .bind(as_integer(former.at_ms))
    .bind(latter.machine.as_ref().map(Machine::name))
    .bind(boot(latter))
    .bind(&latter.address)
    .bind(as_integer(latter.at_ms))
    .execute(connection)
    .await?;
    Ok(())
}

fn read(row: &SqliteRow) -> Result<Fork, StorageError> {
    Ok(Fork {
        card: card_id(row.try_get("card")?, "vault_forks")?,
        sign: match row.try_get("of_key")? {
            true => ForkSign::Key,
            false => ForkSign::Counter,
        },
        former: Reporter {
            machine: machine(row.try_get("former_machine")?, row.try_get("former_boot")?)?,
            address: row.try_get("former_address")?,
            at_ms: as_unsigned(row.try_get("former_at_ms")?),
        },
        latter: Reporter {
            machine: machine(row.try_get("machine")?, row.try_get("boot")?)?,
            address: row.try_get("address")?,
            at_ms: as_unsigned(row.try_get("found_at_ms")?),
        },
    })
}

/// A machine as it is kept: name and boot, or neither.
pub(super) fn machine(
    name: Option<String>,
    boot: Option<&[u8]>,
) -> Result<Option<Machine>, StorageError> {
    let damaged = || StorageError::Damaged {
        table: "vault_forks",
    };
    let Some((name, boot)) = name.zip(boot) else {
        return Ok(None);
    };
    let boot = boot.try_into().map_err(|_| damaged())?;
    let machine = Machine::new(name, boot).map_err(|_| damaged())?;
    Ok(Some(machine))
}

impl fmt::Display for Fork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            card,
            sign,
            former,
            latter,
        } = self;
        match sign {
            ForkSign::Counter => write!(
                f,
                "the vault of card {card} was copied or set back: {former} had reported in with it when {latter} did with what was used up; both are refused until an operator enrols one anew, or clears it with `bartizan host clear-fork`"
            ),
            ForkSign::Key => write!(
                f,
                "the identity key of card {card} has named two successors, one to {former}, another to {latter}: somebody has a copy of it; both are refused: revoke the card, and enrol the host anew"
            ),
        }
    }
}

impl fmt::Display for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.machine {
            Some(machine) => write!(f, "`{}` ({})", machine.name(), self.address),
            None => write!(f, "{}", self.address),
        }
    }
}
