//! The counters of hosts' vaults ([`bartizan_attestation::vault_counter`]).

use bartizan_attestation::digest::sha256;
use bartizan_attestation::vault_counter::{Machine, Mark, Statement};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::forks::{self, Fork, ForkSign, Reporter};
use super::{Storage, StorageError, as_integer, as_unsigned};

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
        if let Some(fork) = forks::of(&mut transaction, card).await? {
            return Ok(Reported::Fork(Box::new(fork)));
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
            if !known.is_followed_by(statement) {
                let fork = Fork {
                    card,
                    sign: ForkSign::Counter,
                    former: known.reporter,
                    latter: from.clone(),
                };
                forks::insert(&mut transaction, &fork).await?;
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

    /// Whether a verified statement would be found to be a fork's. Writes nothing.
    pub async fn would_be_fork(&self, statement: &Statement) -> Result<bool, StorageError> {
        let known = sqlx::query("SELECT * FROM vault_counters WHERE card = ?")
            .bind(statement.card.0.as_slice())
            .fetch_optional(&self.readers)
            .await?;
        let known = known.as_ref().map(Known::read).transpose()?;
        Ok(known.is_some_and(|known| {
            let repeated = known.statement_sha256 == sha256(&statement.encode());
            !repeated && !known.is_followed_by(statement)
        }))
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
    fn is_followed_by(&self, statement: &Statement) -> bool {
        let due = self.counter.checked_add(1) == Some(statement.counter);
        due && self.mark == statement.mark
    }

    fn read(row: &SqliteRow) -> Result<Self, StorageError> {
        let counter = row.try_get::<&[u8], _>("counter")?;
        Ok(Self {
            counter: u64::from_be_bytes(counter.try_into().map_err(|_| damaged())?),
            mark: digest(row.try_get("mark")?)?,
            statement_sha256: digest(row.try_get("statement_sha256")?)?,
            reporter: Reporter {
                machine: forks::machine(row.try_get("machine")?, row.try_get("boot")?)?,
                address: row.try_get("address")?,
                at_ms: as_unsigned(row.try_get("reported_at_ms")?),
            },
        })
    }
}

fn digest(bytes: &[u8]) -> Result<[u8; 32], StorageError> {
    bytes.try_into().map_err(|_| damaged())
}

const fn damaged() -> StorageError {
    StorageError::Damaged {
        table: "vault_counters",
    }
}
