//! The verdict log: one task writes all verdicts, as many as wait with one commit.
//!
//! A flush to the disk takes milliseconds however little it flushes; verdicts that arrive
//! while one is under way share the next. Nobody is answered before the commit that holds
//! their verdict has returned. The same task drops old evidence ([`super::retention`]).

use bartizan_attestation::identity::GuestIdentity;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::retention::Dropper;
use super::verdicts::{insert, raise_boot};
use super::{Storage, StorageError, Verdict};
use crate::config::Retention;
use crate::task::TaskError;

/// Most verdicts in one commit, and most that wait for the next.
const GROUP: usize = 256;

/// What became of a verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recorded {
    /// It is on the disk.
    Durable,
    /// A report of a later boot of the same VM was recorded before: nothing was written.
    Superseded,
}

/// The sending end of the log; the task ends when the last clone is gone.
#[derive(Clone, Debug)]
pub struct VerdictLog {
    entries: mpsc::Sender<Entry>,
}

#[derive(Debug)]
struct Entry {
    guest: GuestIdentity,
    verdict: Verdict,
    done: oneshot::Sender<Result<Recorded, StorageError>>,
}

impl VerdictLog {
    /// Starts the log over a database; evidence is dropped by `policy`.
    #[must_use]
    pub fn start(storage: Storage, policy: Retention) -> (Self, JoinHandle<()>) {
        let (entries, receiver) = mpsc::channel(GROUP);
        let writer = Writer {
            storage,
            dropper: Dropper::new(policy),
        };
        (Self { entries }, tokio::spawn(writer.run(receiver)))
    }

    /// Records a verdict about a guest; returns once it is durable.
    pub async fn record(
        &self,
        guest: GuestIdentity,
        verdict: Verdict,
    ) -> Result<Recorded, StorageError> {
        let (done, recorded) = oneshot::channel();
        let entry = Entry {
            guest,
            verdict,
            done,
        };
        self.entries
            .send(entry)
            .await
            .map_err(|_| TaskError::Stopped)?;
        recorded.await.map_err(|_| TaskError::Stopped)?
    }
}

/// The one that writes.
struct Writer {
    storage: Storage,
    dropper: Dropper,
}

impl Writer {
    async fn run(self, mut entries: mpsc::Receiver<Entry>) {
        let mut group = Vec::with_capacity(GROUP);
        let mut look = Instant::now();
        loop {
            // Whichever is ready, in no order: verdicts without end do not keep the old from being
            // dropped, and a batch of those is short.
            tokio::select! {
                received = entries.recv_many(&mut group, GROUP) => {
                    if received == 0 {
                        break;
                    }
                    self.write(&mut group).await;
                }
                () = tokio::time::sleep_until(look) => {
                    look = Instant::now() + self.dropper.drop_aged(&self.storage).await;
                }
            }
        }
    }

    /// Writes a group and answers for it.
    async fn write(&self, group: &mut Vec<Entry>) {
        match self.commit(group).await {
            Ok(outcomes) => {
                for (entry, outcome) in group.drain(..).zip(outcomes) {
                    // A client that went away meanwhile does not undo its verdict.
                    let _gone = entry.done.send(Ok(outcome));
                }
            }
            Err(error) => {
                tracing::error!(%error, verdicts = group.len(), "verdicts could not be written");
                for entry in group.drain(..) {
                    let _gone = entry.done.send(Err(error.clone()));
                }
            }
        }
    }

    async fn commit(&self, group: &[Entry]) -> Result<Vec<Recorded>, StorageError> {
        let mut transaction = self.storage.writer.begin_with("BEGIN IMMEDIATE").await?;
        let mut outcomes = Vec::with_capacity(group.len());
        for entry in group {
            outcomes.push(if raise_boot(&mut transaction, &entry.guest).await? {
                insert(&mut transaction, &entry.verdict).await?;
                self.dropper
                    .make_room(&mut transaction, &entry.verdict)
                    .await?;
                Recorded::Durable
            } else {
                Recorded::Superseded
            });
        }
        transaction.commit().await?;
        Ok(outcomes)
    }
}
