//! The receiver's side.

use crate::message::Span;

/// Up to where evidence of one source was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inbox {
    /// The last number that was taken.
    taken: u64,
}

/// What became of a piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// It is the next: it is to be kept.
    New,
    /// It was received before: there is nothing to be done.
    Repeated,
}

/// The sender's numbers do not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InboxError {
    /// Evidence between is missing.
    #[error("evidence {due} is due, and {found} came: what is between is lost")]
    Gap {
        /// What is due.
        due: u64,
        /// What came.
        found: u64,
    },
    /// The sender does not know of evidence that is here: its state is older than it was.
    #[error(
        "evidence up to {taken} was received, and the sender says that {next} is its next: its state is an older one"
    )]
    SenderWentBack {
        /// The last that was received.
        taken: u64,
        /// What the sender makes next.
        next: u64,
    },
}

impl Inbox {
    /// Of a source of which all up to `kept` is durable; 0 if it is new.
    #[must_use]
    pub const fn new(kept: u64) -> Self {
        Self { taken: kept }
    }

    /// Whether a sender that has `span` can go on from here. What it is to be told is kept: up to [`Inbox::taken`].
    ///
    /// # Errors
    /// It cannot.
    pub fn resume(&self, span: Span) -> Result<(), InboxError> {
        let (oldest, next) = (span.oldest().get(), span.next().get());
        if self.taken >= next {
            let taken = self.taken;
            return Err(InboxError::SenderWentBack { taken, next });
        }
        if oldest - 1 > self.taken {
            let (due, found) = (self.taken + 1, oldest);
            return Err(InboxError::Gap { due, found });
        }
        Ok(())
    }

    /// Takes the piece of this number.
    ///
    /// # Errors
    /// Another is due.
    pub const fn take(&mut self, sequence: u64) -> Result<Taken, InboxError> {
        if sequence <= self.taken {
            return Ok(Taken::Repeated);
        }
        let due = self.taken + 1;
        if sequence != due {
            let found = sequence;
            return Err(InboxError::Gap { due, found });
        }
        self.taken = sequence;
        Ok(Taken::New)
    }

    /// The last number that was taken.
    #[must_use]
    pub const fn taken(&self) -> u64 {
        self.taken
    }
}
