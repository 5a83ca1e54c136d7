//! The counters of hosts' vaults, and those that were found to go on twice ([`bartizan_attestation::vault_counter`]).

use std::fmt;

use bartizan_attestation::digest::sha256;
use bartizan_attestation::identity::CardId;
use bartizan_attestation::vault_counter::{Machine, Mark, Statement};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::enrolment::card_id;
use super::{Storage, StorageError, as_integer, as_unsigned};

/// Forks that are listed at most.
const MOST_FORKS: u32 = 10_000;

/// Who reported in, from where, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reporter {
    /// The machine, as its card told; none, where it did not say.
    pub machine: Option<Machine>,
    /// The address that it came from.
    pub address: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// A vault that went on twice from one state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fork {
    /// Whose vault it is.
    pub card: CardId,
    /// Who had reported in last.
    pub former: Reporter,
    /// Who came then, with what had been used up.
    pub latter: Reporter,
}

/// What came of a statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reported {
    /// It was due, or is the one that was answered last: the mark for it.
    Mark(Mark),
    /// It was not, or the vault was found to be a fork before.
    Fork(Box<Fork>),
}

impl Storage {
    /// Takes a verified statement. In one transaction: of two who show the same mark, one comes second. Of a card that none is
    /// known of, any is taken. `next`: the mark for it, where it is due.
    pub async fn report_in(
        &self,
        statement: &Statement,
        from: &Reporter,
        next: Mark,
    ) -> Result<Reported, StorageError> {
        let card = statement.card;
        let digest = sha256(&statement.encode());
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let fork = sqlx::query("SELECT * FROM vault_forks WHERE card = ?")
            .bind(card.0.as_slice())
            .fetch_optional(&mut *transaction)
            .await?;
        if let Some(fork) = fork {
            return Ok(Reported::Fork(Box::new(read_fork(&fork)?)));
        }
        let known = sqlx::query("SELECT * FROM vault_counters WHERE card = ?")
            .bind(card.0.as_slice())
            .fetch_optional(&mut *transaction)
            .await?;
        let known = known.as_ref().map(Known::read).transpose()?;
        if let Some(known) = known {
            if known.statement_sha256 == digest {
                return Ok(Reported::Mark(known.mark));
            }
            let due = known.counter.checked_add(1) == Some(statement.counter);
            if !due || known.mark != statement.mark {
                let fork = Fork {
                    card,
                    former: known.reporter,
                    latter: from.clone(),
                };
                insert_fork(&mut transaction, &fork).await?;
                transaction.commit().await?;
                return Ok(Reported::Fork(Box::new(fork)));
            }
        }
        sqlx::query(
            "INSERT OR REPLACE INTO vault_counters
                 (card, counter, mark, statement_sha256, machine, boot, address, reported_at_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(card.0.as_slice())
        .bind(statement.counter.to_be_bytes().as_slice())
        .bind(next.as_slice())
        .bind(digest.as_slice())
        .bind(from.machine.as_ref().map(Machine::name))
        .bind(
            from.machine
                .as_ref()
                .map(|machine| machine.boot().as_slice()),
        )
        .bind(&from.address)
        .bind(as_integer(from.at_ms))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Reported::Mark(next))
    }

    /// Records that a vault was found to be a fork by another sign than its counter; answers what is recorded.
    pub async fn find_fork(&self, card: CardId, from: &Reporter) -> Result<Fork, StorageError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let known = sqlx::query("SELECT * FROM vault_forks WHERE card = ?")
            .bind(card.0.as_slice())
            .fetch_optional(&mut *transaction)
            .await?;
        if let Some(known) = known {
            return read_fork(&known);
        }
        let former = sqlx::query("SELECT * FROM vault_counters WHERE card = ?")
            .bind(card.0.as_slice())
            .fetch_optional(&mut *transaction)
            .await?;
        let former = former.as_ref().map(Known::read).transpose()?;
        let unheard = Reporter {
            machine: None,
            address: "unknown".into(),
            at_ms: from.at_ms,
        };
        let fork = Fork {
            card,
            former: former.map_or(unheard, |known| known.reporter),
            latter: from.clone(),
        };
        insert_fork(&mut transaction, &fork).await?;
        transaction.commit().await?;
        Ok(fork)
    }

    /// Whether the vault of this card was found to be a fork.
    pub async fn fork_of(&self, card: CardId) -> Result<Option<Fork>, StorageError> {
        let fork = sqlx::query("SELECT * FROM vault_forks WHERE card = ?")
            .bind(card.0.as_slice())
            .fetch_optional(&self.readers)
            .await?;
        fork.as_ref().map(read_fork).transpose()
    }

    /// All forks, the first 10,000 by card.
    pub async fn forks(&self) -> Result<Vec<Fork>, StorageError> {
        let forks = sqlx::query("SELECT * FROM vault_forks ORDER BY card LIMIT ?")
            .bind(MOST_FORKS)
            .fetch_all(&self.readers)
            .await?;
        forks.iter().map(read_fork).collect()
    }

    /// How many forks there are.
    pub async fn count_forks(&self) -> Result<u64, StorageError> {
        let count = sqlx::query_scalar("SELECT count(*) FROM vault_forks")
            .fetch_one(&self.readers)
            .await?;
        Ok(as_unsigned(count))
    }

    /// Forgets that a vault was a fork, and its counter: whoever reports in next is taken. Whether it was one.
    pub async fn clear_fork(&self, card: CardId) -> Result<bool, StorageError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let cleared = sqlx::query("DELETE FROM vault_forks WHERE card = ?")
            .bind(card.0.as_slice())
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        if cleared == 0 {
            return Ok(false);
        }
        sqlx::query("DELETE FROM vault_counters WHERE card = ?")
            .bind(card.0.as_slice())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(true)
    }
}

/// The last statement of a vault.
struct Known {
    counter: u64,
    mark: Mark,
    statement_sha256: [u8; 32],
    reporter: Reporter,
}

impl Known {
    fn read(row: &SqliteRow) -> Result<Self, StorageError> {
        let counter = row.try_get::<&[u8], _>("counter")?;
        Ok(Self {
            counter: u64::from_be_bytes(counter.try_into().map_err(|_| damaged())?),
            mark: digest(row.try_get("mark")?)?,
            statement_sha256: digest(row.try_get("statement_sha256")?)?,
            reporter: Reporter {
                machine: machine(row.try_get("machine")?, row.try_get("boot")?)?,
                address: row.try_get("address")?,
                at_ms: as_unsigned(row.try_get("reported_at_ms")?),
            },
        })
    }
}

async fn insert_fork(
    connection: &mut sqlx::SqliteConnection,
    fork: &Fork,
) -> Result<(), StorageError> {
    let Fork {
        card,
        former,
        latter,
    } = fork;
    sqlx::query(
        "INSERT INTO vault_forks
             (card, former_machine, former_boot, former_address, former_at_ms, machine, boot,
              address, found_at_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(card.0.as_slice())
    .bind(former.machine.as_ref().map(Machine::name))
    .bind(
        former
            .machine
            .as_ref()
            .map(|machine| machine.boot().as_slice()),
    )
    .bind(&former.address)
    .bind(as_integer(former.at_ms))
    .bind(latter.machine.as_ref().map(Machine::name))
    .bind(
        latter
            .machine
            .as_ref()
            .map(|machine| machine.boot().as_slice()),
    )
    .bind(&latter.address)
    .bind(as_integer(latter.at_ms))
    .execute(connection)
    .await?;
    Ok(())
}

fn read_fork(row: &SqliteRow) -> Result<Fork, StorageError> {
    Ok(Fork {
        card: card_id(row.try_get("card")?, "vault_forks")?,
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

fn machine(name: Option<String>, boot: Option<&[u8]>) -> Result<Option<Machine>, StorageError> {
    let Some((name, boot)) = name.zip(boot) else {
        return Ok(None);
    };
    let boot = boot.try_into().map_err(|_| damaged())?;
    Machine::new(name, boot).map(Some).map_err(|_| damaged())
}

fn digest(bytes: &[u8]) -> Result<[u8; 32], StorageError> {
    bytes.try_into().map_err(|_| damaged())
}

const fn damaged() -> StorageError {
    StorageError::Damaged {
        table: "vault_counters",
    }
}

impl fmt::Display for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.machine {
            Some(machine) => write!(f, "`{}` ({})", machine.name(), self.address),
            None => write!(f, "a machine that did not say its name ({})", self.address),
        }
    }
}
