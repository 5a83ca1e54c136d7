//! How far the state is: what is kept, and what is about to be.

use std::num::NonZeroU64;

use bartizan_attestation::boot::Sha384;
use bartizan_attestation::host::StoredState;
use bartizan_attestation::identity::CardId;
use bartizan_attestation::keys::{StateKey, StateRecord};
use bartizan_stream::message::{Evidence, Source};
use bartizan_stream::resume::Outbox;

use super::{EVIDENCE_LIMITS, OpenError, SealError, State, open, seal};

/// The state, as it is kept. One change of it is under way at a time.
#[derive(Debug)]
pub struct Kept {
    card: CardId,
    key: StateKey,
    record: Option<StateRecord>,
    state: State,
    storing: Option<Storing>,
}

/// A change that is under way: the same bytes until they are kept.
#[derive(Debug)]
struct Storing {
    record: StateRecord,
    sealed: Vec<u8>,
    state: State,
}

/// What the card is to keep.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Due {
    /// Its number.
    pub number: u64,
    /// The sealed state.
    pub sealed: Vec<u8>,
}

/// There was a state, and it is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum Loss {
    /// The card has none that fits.
    #[error("state {0} is recorded, and is not there")]
    Gone(u64),
    /// What the card has is another than is recorded.
    #[error("state {0} is recorded, and what is there is another")]
    Another(u64),
    /// It cannot be opened.
    #[error("state {number} is there and cannot be read: {source}")]
    Unread {
        /// Which.
        number: u64,
        /// Why.
        source: OpenError,
    },
}

impl Kept {
    /// What the card has, or the beginning: `source` is whose numbers of evidence are where there was no state yet.
    pub fn restore(card: CardId, stored: StoredState, source: Source) -> Result<Self, Loss> {
        let StoredState {
            key,
            record,
            sealed,
        } = stored;
        let state = match record {
            None => State::new(source),
            Some(StateRecord { number, digest }) => {
                let sealed = sealed.ok_or(Loss::Gone(number))?;
                if Sha384::of(&sealed) != digest {
                    return Err(Loss::Another(number));
                }
                let opened = open(&key, card, number, &sealed);
                opened.map_err(|source| Loss::Unread { number, source })?
            }
        };
        Ok(Self {
            card,
            key,
            record,
            state,
            storing: None,
        })
    }

    /// The host's card.
    #[must_use]
    pub const fn card(&self) -> CardId {
        self.card
    }

    /// What is kept.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The evidence in it.
    ///
    /// INVARIANT: a state is read only if its evidence leads up to the next number.
    #[must_use]
    pub fn outbox(&self) -> Outbox {
        let State { next, waiting, .. } = &self.state;
        let oldest = next.get() - waiting.len() as u64;
        let pieces = (oldest..).zip(waiting).filter_map(|(number, signed)| {
            Evidence::new(NonZeroU64::new(number)?, signed.clone()).ok()
        });
        let outbox = Outbox::restore(EVIDENCE_LIMITS, pieces.collect(), *next);
        outbox.unwrap_or_else(|_| Outbox::new(EVIDENCE_LIMITS))
    }

    /// Whether a change is under way: no other one begins before it is kept.
    #[must_use]
    pub const fn is_storing(&self) -> bool {
        self.storing.is_some()
    }

    /// Begins a change.
    pub fn begin(&mut self, state: State) -> Result<(), SealError> {
        let number = StateRecord::next_after(self.record.as_ref()).ok_or(SealError::Exhausted)?;
        let sealed = seal(&self.key, self.card, number, &state)?;
        let digest = Sha384::of(&sealed);
        self.storing = Some(Storing {
            record: StateRecord { number, digest },
            sealed,
            state,
        });
        Ok(())
    }

    /// What the card is to keep now.
    #[must_use]
    pub fn due(&self) -> Option<Due> {
        let storing = self.storing.as_ref()?;
        Some(Due {
            number: storing.record.number,
            sealed: storing.sealed.clone(),
        })
    }

    /// The card has kept what was due under this number; whether that was.
    pub fn stored(&mut self, number: u64) -> bool {
        let is_due = |storing: &mut Storing| storing.record.number == number;
        let Some(storing) = self.storing.take_if(is_due) else {
            return false;
        };
        (self.record, self.state) = (Some(storing.record), storing.state);
        true
    }
}

#[cfg(test)]
mod tests;
