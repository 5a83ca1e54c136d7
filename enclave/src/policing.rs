//! The stream to the verifier: what it hands on is judged here, and put in force.
//!
//! | attack | answer |
//! |---|---|
//! | the verifier invents a policy, or edits one | each is verified by its author's key, which the measured configuration has |
//! | it hands out an older set, or an older issue of a policy | numbers and serials go up only, also where this machine was started again ([`crate::sealed`]) |
//! | it numbers a set so high that no other is ever taken | a number may not be ahead of the time by more than an hour |
//! | it says that it has evidence which was never sent, so that it is dropped | the stream ends |
//! | it says that a set is in force which is not | the enclave says so, once devices have confirmed it for each guest |

mod ahead;
mod held;
mod taking;
mod wishes;

use std::time::Duration;

use bartizan_local::flow::Guest as GuestBoot;
use bartizan_policy::{Authors, Trust};
use bartizan_stream::StreamError;
use bartizan_stream::client::{Connected, connect};
use bartizan_stream::message::{self, CommandKind, CommandOutcome, Down, Up};
use bartizan_stream::resume::{Cursor, ReceiptError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::deciding::Isolated;
use crate::ruling::Ruling;
pub use held::Held;

/// How long the verifier may take to take the stream.
const OPENING: Duration = Duration::from_secs(30);

/// Why the stream has ended.
#[derive(Debug, thiserror::Error)]
pub enum PolicingError {
    /// It was not taken in time.
    #[error("the verifier did not take the stream within {OPENING:?}")]
    TimedOut,
    /// It broke.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// What it says of evidence cannot be.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// What this enclave has said of what it holds is not so any more.
    #[error("this enclave's state was reset")]
    Reset,
}

impl PolicingError {
    /// Whether the verifier refuses this enclave as it is: to come again at once changes nothing.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Stream(error) if error.is_refusal())
    }
}

/// Speaks with the verifier of this name until the stream ends.
pub async fn serve<S>(
    link: S,
    name: &str,
    authors: &Authors,
    ruling: &Ruling,
    held: &Held,
) -> PolicingError
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let policing = Policing {
        authors,
        ruling,
        held,
    };
    match policing.serve(link, name).await {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

struct Policing<'p> {
    authors: &'p Authors,
    ruling: &'p Ruling,
    held: &'p Held,
}

impl Policing<'_> {
    async fn serve<S>(&self, link: S, name: &str) -> Result<std::convert::Infallible, PolicingError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut in_force = self.ruling.in_force();
        let mut changes = self.held.changes();
        let mut rulings = self.ruling.changes();
        let (hello, stream) = self.held.hello();
        let opened = timeout(OPENING, connect(link, name, hello)).await;
        let Connected { kept, up, mut down } = opened.map_err(|_| PolicingError::TimedOut)??;
        tracing::info!(kept, "the verifier is there");
        let mut cursor = self.held.resume(kept)?;
        loop {
            if self.held.is_over(stream) {
                return Err(PolicingError::Reset);
            }
            rulings.mark_unchanged();
            self.held.settle(self.ruling);
            while let Some(answer) = self.held.answer() {
                up.send(answer).await?;
            }
            while let Some(piece) = self.held.next_piece(&mut cursor) {
                up.send(Up::Evidence(piece)).await?;
            }
            let due = self
                .held
                .in_force_since(*in_force.borrow_and_update(), self.ruling);
            if let Some(due) = due {
                up.send(due).await?;
            }
            tokio::select! {
                heard = down.next(), if self.held.has_room() => self.hear(heard?, &cursor)?,
                // INVARIANT: the senders are in `ruling` and `held`, which are borrowed.
                _ = in_force.changed() => {}
                _ = changes.changed() => {}
                _ = rulings.changed() => {}
            }
        }
    }

    /// Has done what is said.
    fn hear(&self, heard: Down, cursor: &Cursor) -> Result<(), PolicingError> {
        let Self {
            authors, ruling, ..
        } = self;
        match heard {
            Down::EvidenceKept(kept) => self.held.receipt(cursor, kept)?,
            Down::PolicySet(set) => self.held.take(set, authors, ruling),
            Down::Appraisal { guest, trust } => {
                let trust = match trust {
                    message::Trust::None => Trust::None,
                    message::Trust::Affirming => Trust::Affirming,
                    message::Trust::Contraindicated => Trust::Contraindicated,
                };
                ruling.trust(boot(guest), trust);
            }
            Down::Command {
                number,
                kind,
                guest,
            } => self.held.command((number, guest.vm), authors, ruling, || {
                let isolated = kind == CommandKind::Isolate;
                tracing::warn!(number, ?guest, isolated, "a guest's isolation is ordered");
                match ruling.isolate(boot(guest), isolated) {
                    Isolated::Done => CommandOutcome::Done,
                    Isolated::NoGuest => CommandOutcome::NoGuest,
                    Isolated::TooMany => CommandOutcome::Failed,
                }
            }),
        }
        Ok(())
    }
}

fn boot(guest: message::Guest) -> GuestBoot {
    GuestBoot {
        vm: guest.vm,
        boot: guest.boot,
    }
}

#[cfg(test)]
mod tests;
