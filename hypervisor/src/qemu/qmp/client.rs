//! Commands and their replies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{LineError, Lines, MAX_LINE, Message, MessageError, ShutdownCause, parse};

/// Replies that may wait to be read: one command is under way at a time, the rest are late ones.
const QUEUE: usize = 16;

/// A connection to one QEMU's monitor.
#[derive(Debug)]
pub struct Qmp {
    writer: WriteHalf<UnixStream>,
    replies: mpsc::Receiver<Reply>,
    shutdown: mpsc::Receiver<ShutdownCause>,
    /// How often QEMU has said that a guest that ran stands still.
    stops: Arc<AtomicU64>,
    reader: JoinHandle<()>,
    next_id: u64,
    deadline: Duration,
}

/// A command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// QEMU closed its monitor.
    #[error("QEMU closed its monitor")]
    Closed,
    /// QEMU did not answer in time.
    #[error("QEMU did not answer `{command}` within {after:?}")]
    TimedOut {
        /// The command.
        command: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// QEMU refused the command.
    #[error("QEMU refused `{command}`: {description}")]
    Refused {
        /// The command.
        command: &'static str,
        /// QEMU's words.
        description: String,
    },
    /// There was nothing to stop: the guest sleeps, or QEMU stopped it by itself.
    #[error("the guest did not run: it sleeps (ACPI S3), or QEMU has stopped it")]
    NotRunning,
    /// QEMU answered with something else than the command returns.
    #[error("QEMU's answer to `{0}` is of another type")]
    WrongType(&'static str),
    /// What QEMU says is no QMP.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// What QEMU says is not made of lines of bounded length.
    #[error(transparent)]
    Line(#[from] LineError),
}

/// A command as it is sent. QEMU reads its monitor byte by byte, each with a round of its event loop (`monitor_can_read`
/// in monitor/monitor.c), while the guest stands still: what need not be said is left out.
#[derive(Serialize)]
struct Command {
    execute: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<Value>,
    id: u64,
}

impl Command {
    fn line(&self) -> Vec<u8> {
        // INVARIANT: strings, numbers and JSON values always have a JSON form.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

type Reply = Result<(u64, Result<Value, String>), QmpError>;

impl Qmp {
    /// Greets QEMU; every command has `deadline` to be answered.
    pub async fn connect(stream: UnixStream, deadline: Duration) -> Result<Self, QmpError> {
        let (reader, writer) = tokio::io::split(stream);
        let mut lines = Lines::new(reader, MAX_LINE);
        let greeting =
            timeout(deadline, lines.next())
                .await
                .map_err(|_| QmpError::TimedOut {
                    command: "greeting",
                    after: deadline,
                })??;
        if parse(&greeting)? != Message::Greeting {
            return Err(QmpError::WrongType("greeting"));
        }
        let (reply_sender, replies) = mpsc::channel(QUEUE);
        let (shutdown_sender, shutdown) = mpsc::channel(1);
        let stops = Arc::new(AtomicU64::new(0));
        let heard = Arc::clone(&stops);
        let reader = tokio::spawn(read(lines, reply_sender, shutdown_sender, heard));
        let mut qmp = Self {
            writer,
            replies,
            shutdown,
            stops,
            reader,
            next_id: 0,
            deadline,
        };
        qmp.execute("qmp_capabilities", None).await?;
        Ok(qmp)
    }

    /// Lets the guest run.
    pub async fn cont(&mut self) -> Result<(), QmpError> {
        self.execute("cont", None).await.map(drop)
    }

    /// Stops the guest's virtual CPUs; they stand still when this returns.
    ///
    /// That QEMU obeys is not enough: a guest in ACPI S3 is no running one, `stop` succeeds without changing anything
    /// (`do_vm_stop` in softmmu/cpus.c), and it may wake up at any time. What was stopped is told by an event before
    /// the reply; and what stands still by that cannot wake up.
    pub async fn stop(&mut self) -> Result<(), QmpError> {
        let before = self.stops.load(Ordering::Acquire);
        self.execute("stop", None).await?;
        if self.stops.load(Ordering::Acquire) == before {
            return Err(QmpError::NotRunning);
        }
        Ok(())
    }

    /// Presses the power button.
    pub async fn power_down(&mut self) -> Result<(), QmpError> {
        self.execute("system_powerdown", None).await.map(drop)
    }

    /// The flat memory tree, as text for people.
    pub async fn memory_tree(&mut self) -> Result<String, QmpError> {
        let name = "human-monitor-command";
        match self
            .execute(name, Some(json!({"command-line": "info mtree -f"})))
            .await?
        {
            Value::String(text) => Ok(text),
            _ => Err(QmpError::WrongType(name)),
        }
    }

    /// Why QEMU ends, once it has said so.
    pub fn shutdown_cause(&mut self) -> Option<ShutdownCause> {
        self.shutdown.try_recv().ok()
    }

    async fn execute(
        &mut self,
        command: &'static str,
        arguments: Option<Value>,
    ) -> Result<Value, QmpError> {
        self.next_id += 1;
        let id = self.next_id;
        let line = Command {
            execute: command,
            arguments,
            id,
        }
        .line();
        let exchange = async {
            self.writer
                .write_all(&line)
                .await
                .map_err(|_| QmpError::Closed)?;
            loop {
                match self.replies.recv().await.ok_or(QmpError::Closed)?? {
                    (answered, outcome) if answered == id => {
                        return outcome.map_err(|description| QmpError::Refused {
                            command,
                            description,
                        });
                    }
                    // The late answer to a command whose deadline passed.
                    _ => {}
                }
            }
        };
        timeout(self.deadline, exchange)
            .await
            .map_err(|_| QmpError::TimedOut {
                command,
                after: self.deadline,
            })?
    }
}

impl Drop for Qmp {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Reads until QEMU closes or says what is no QMP; then the queue's end tells the commands.
async fn read(
    mut lines: Lines<ReadHalf<UnixStream>>,
    replies: mpsc::Sender<Reply>,
    shutdown: mpsc::Sender<ShutdownCause>,
    stops: Arc<AtomicU64>,
) {
    loop {
        let reply = match lines.next().await {
            Ok(line) => match parse(&line) {
                Ok(Message::Return { id, value }) => Ok((id, Ok(value))),
                Ok(Message::Failure { id, description }) => {
                    Ok((id.unwrap_or_default(), Err(description)))
                }
                Ok(Message::Shutdown(cause)) => {
                    // The first cause is the true one.
                    let _ = shutdown.try_send(cause);
                    continue;
                }
                Ok(Message::Stopped) => {
                    stops.fetch_add(1, Ordering::Release);
                    continue;
                }
                Ok(Message::OtherEvent(event)) => {
                    tracing::debug!(event, "QEMU event");
                    continue;
                }
                Ok(Message::Greeting) => continue,
                Err(error) => Err(error.into()),
            },
            Err(LineError::Closed) => return,
            Err(error) => Err(error.into()),
        };
        // A full queue is a QEMU that answers what nobody asked.
        let failed = reply.is_err();
        if replies.try_send(reply).is_err() || failed {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
