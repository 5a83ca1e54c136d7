//! This enclave's state, over the link to the card: asked for when the machine starts, handed over whenever it changes.

use bartizan_attestation::host::{CardRefusal, ForCard, FromCard};
use bartizan_attestation::identity::CardId;
use bartizan_local::FrameError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::error::Elapsed;

use super::ask;
use crate::run::Enclave;

/// The state cannot be kept over this link.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The link failed.
    #[error(transparent)]
    Link(#[from] FrameError),
    /// It did not answer in time.
    #[error("the card did not answer in time")]
    TimedOut(#[from] Elapsed),
    /// It answered another question.
    #[error("the card answered another question; are card and enclave of one version?")]
    Unexpected,
    /// Another enclave of this host keeps the state, or it was reset: this one is to end.
    #[error(
        "state {asked} does not come after {recorded}, the newest: another enclave keeps it, or it was reset"
    )]
    Superseded {
        /// The number of the newest.
        recorded: u64,
        /// This one's.
        asked: u64,
    },
}

/// How far the state is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// All that is to be kept is.
    Kept,
    /// More is to be kept.
    More,
    /// It is to be tried again in a while: the card or its vault could not do it, or the state is lost.
    Again,
}

/// Asks for the state where it is not there yet, and hands over what is to be kept next.
pub async fn keep_state(
    enclave: &Enclave,
    card: CardId,
    link: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Result<Progress, StateError> {
    let Enclave {
        config,
        ruling,
        held,
        ..
    } = enclave;
    if !held.is_kept() {
        let stored = match ask::<StateError>(link, &ForCard::LoadState).await? {
            FromCard::State(stored) => stored,
            FromCard::Refused(refusal) => return Ok(later(&refusal)),
            _ => return Err(StateError::Unexpected),
        };
        if let Err(loss) = held.restore(card, stored, &config.authors, ruling) {
            tracing::error!(
                %loss,
                "this enclave's state is lost; everything is denied until an administrator orders `bartizan enclave reset-state`"
            );
            return Ok(Progress::Again);
        }
    }
    let Some(due) = held.due() else {
        return Ok(Progress::Kept);
    };
    let (number, sealed) = (due.number, due.sealed);
    match ask::<StateError>(link, &ForCard::StoreState { number, sealed }).await? {
        FromCard::Stored => {
            held.stored(number, &config.authors, ruling);
            Ok(Progress::More)
        }
        FromCard::Refused(CardRefusal::StateOrder { recorded, asked }) => {
            held.supersede();
            Err(StateError::Superseded { recorded, asked })
        }
        FromCard::Refused(refusal) => Ok(later(&refusal)),
        _ => Err(StateError::Unexpected),
    }
}

fn later(refusal: &CardRefusal) -> Progress {
    tracing::warn!(%refusal, "the card does not keep this enclave's state; it is asked again");
    Progress::Again
}

#[cfg(test)]
mod tests;
