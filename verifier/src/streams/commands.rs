//! What one enclave has yet to be told to do: one command at a time, in the order of their numbers, so that at most one is of unknown
//! outcome when a stream breaks. That one is sent again: an enclave does none twice.

use std::num::NonZeroU64;

use bartizan_attestation::identity::CardId;
use bartizan_stream::message::Down;

use crate::storage::{Storage, StorageError};

/// The commands to an enclave.
#[derive(Debug)]
pub(super) struct Commands {
    /// What it was sent and has not answered for.
    sent: Option<NonZeroU64>,
    /// Whether one may wait in storage.
    look: bool,
}

impl Default for Commands {
    /// What waited while there was no stream is looked for.
    fn default() -> Self {
        Self {
            sent: None,
            look: true,
        }
    }
}

impl Commands {
    /// Another one waits.
    pub(super) const fn ordered(&mut self) {
        self.look = true;
    }

    /// Whether the enclave owes an answer.
    const fn is_awaited(&self) -> bool {
        self.sent.is_some()
    }

    /// The command that is to be sent now.
    pub(super) async fn due(
        &mut self,
        storage: &Storage,
        card: CardId,
    ) -> Result<Option<Down>, StorageError> {
        if self.is_awaited() || !self.look {
            return Ok(None);
        }
        let next = storage.next_command(card).await?;
        self.look = next.is_some();
        self.sent = next.as_ref().map(|command| command.number);
        Ok(next.map(|of| Down::Command {
            number: of.number,
            kind: of.command.kind,
            guest: of.command.target.guest(),
        }))
    }

    /// The enclave answers for one; whether it was sent that one.
    pub(super) fn answered(&mut self, number: NonZeroU64) -> bool {
        let awaited = self.sent == Some(number);
        if awaited {
            self.sent = None;
        }
        awaited
    }
}
