//! What the store keeps of the vault's counter.

use bartizan_attestation::identity::CardId;
use bartizan_attestation::vault_counter::{FIRST_MARK, Mark, Statement};
use minicbor::{Decode, Encode};

use super::{Keyring, KeyringError};

/// How far the counter is. Another card's, of an identity before, counts for nothing.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub(super) struct Counter {
    #[n(0)]
    card: CardId,
    /// That of the last statement that was answered.
    #[n(1)]
    answered: u64,
    /// What was given for it.
    #[cbor(n(2), with = "minicbor::bytes")]
    mark: Mark,
    /// The one that may have left, and has no answer yet.
    #[n(3)]
    pending: Option<Statement>,
}

impl Keyring {
    /// The statement of this card that waits for its answer.
    pub(crate) fn pending_statement(&self, card: CardId) -> Option<&Statement> {
        self.counter_of(card)?.pending.as_ref()
    }

    /// The counter that was answered last, and the mark that was given for it.
    pub(crate) fn answered(&self, card: CardId) -> (u64, Mark) {
        self.counter_of(card)
            .map_or((0, FIRST_MARK), |counter| (counter.answered, counter.mark))
    }

    /// Keeps a statement before it leaves.
    pub(crate) fn keep_statement(&mut self, statement: Statement) -> Result<(), KeyringError> {
        let card = statement.card;
        let (answered, mark) = self.answered(card);
        self.keep_counter(Counter {
            card,
            answered,
            mark,
            pending: Some(statement),
        })
    }

    /// Keeps the mark that the statement of this counter was answered with; says whether there was such a one. The same once more
    /// changes nothing.
    pub(crate) fn take_mark(
        &mut self,
        card: CardId,
        counter: u64,
        mark: Mark,
    ) -> Result<bool, KeyringError> {
        let waits = |statement: &Statement| statement.counter == counter;
        if !self.pending_statement(card).is_some_and(waits) {
            return Ok(counter > 0 && self.answered(card) == (counter, mark));
        }
        self.keep_counter(Counter {
            card,
            answered: counter,
            mark,
            pending: None,
        })?;
        Ok(true)
    }

    /// Keys stay as they are.
    fn keep_counter(&mut self, counter: Counter) -> Result<(), KeyringError> {
        let mut contents = self.contents.clone();
        contents.counter = Some(counter);
        self.replace(contents)
    }

    fn counter_of(&self, card: CardId) -> Option<&Counter> {
        let counter = self.contents.counter.as_ref();
        counter.filter(|counter| counter.card == card)
    }
}
