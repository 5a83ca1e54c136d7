//! The sender's side.

use std::collections::VecDeque;
use std::num::NonZeroU64;

use prost::bytes::Bytes;

use crate::message::{Evidence, MessageError, Span};

/// Evidence that is not known to be durable at the receiver.
///
/// Nothing that was taken in is ever dropped unacknowledged: where there is no room, what is new is refused
/// ([`OutboxError::Full`]), and its maker says what that means.
#[derive(Clone, Debug)]
pub struct Outbox {
    limits: OutboxLimits,
    /// In the order of their numbers, without gaps; the last is before `next`.
    waiting: VecDeque<Evidence>,
    bytes: usize,
    next: NonZeroU64,
}

/// How much may wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutboxLimits {
    /// Pieces.
    pub pieces: usize,
    /// Bytes altogether.
    pub bytes: usize,
}

/// How far one connection is. It is of the connection: the next one has another.
#[derive(Debug)]
pub struct Cursor {
    /// The last number that was handed out to this connection, or that the receiver had before it.
    sent: u64,
}

/// Evidence was not taken in.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OutboxError {
    /// So much waits already.
    #[error("{pieces} pieces of evidence, {bytes} bytes, wait for the verifier; no more is taken")]
    Full {
        /// How many.
        pieces: usize,
        /// How large altogether.
        bytes: usize,
    },
    /// It is none.
    #[error(transparent)]
    Evidence(#[from] MessageError),
    /// The numbers are used up.
    #[error("there is no number left for another piece of evidence")]
    Exhausted,
    /// What was kept of an outbox has gaps.
    #[error("evidence {found} follows where {due} is due")]
    Gap {
        /// What is due.
        due: u64,
        /// What follows.
        found: u64,
    },
}

/// The receiver says something of its evidence that cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReceiptError {
    /// It has what was never sent.
    #[error(
        "the verifier says that it has evidence up to {kept}; {sent} is the last that was sent"
    )]
    NeverSent {
        /// What it claims.
        kept: u64,
        /// The last that it can have.
        sent: u64,
    },
    /// It does not have any more what it said to be durable.
    #[error("the verifier says that it has evidence up to {kept} alone; it had {dropped}")]
    Lost {
        /// What it claims.
        kept: u64,
        /// Up to where it had it.
        dropped: u64,
    },
}

impl Outbox {
    /// An empty one, whose first piece has number 1.
    #[must_use]
    pub const fn new(limits: OutboxLimits) -> Self {
        Self {
            limits,
            waiting: VecDeque::new(),
            bytes: 0,
            next: NonZeroU64::MIN,
        }
    }

    /// One as it was kept: what waited, and the number that is next. What is over the limits is taken nevertheless.
    ///
    /// # Errors
    /// What waited does not lead up to `next`.
    pub fn restore(
        limits: OutboxLimits,
        waiting: Vec<Evidence>,
        next: NonZeroU64,
    ) -> Result<Self, OutboxError> {
        let due = waiting.iter().rev().zip((1..next.get()).rev());
        for (piece, due) in due {
            let found = piece.sequence().get();
            if found != due {
                return Err(OutboxError::Gap { due, found });
            }
        }
        if waiting.len() as u64 >= next.get() {
            let (due, found) = (0, next.get());
            return Err(OutboxError::Gap { due, found });
        }
        let bytes = waiting.iter().map(|piece| piece.signed().len()).sum();
        Ok(Self {
            limits,
            waiting: waiting.into(),
            bytes,
            next,
        })
    }

    /// Takes a piece in; answers with its number.
    ///
    /// # Errors
    /// There is no room for it, or it is none. Nothing has changed.
    pub fn push(&mut self, signed: Bytes) -> Result<NonZeroU64, OutboxError> {
        let (pieces, bytes) = (self.waiting.len(), self.bytes);
        let size = signed.len();
        if pieces >= self.limits.pieces || bytes.saturating_add(size) > self.limits.bytes {
            return Err(OutboxError::Full { pieces, bytes });
        }
        let sequence = self.next;
        let next = sequence.checked_add(1).ok_or(OutboxError::Exhausted)?;
        self.waiting.push_back(Evidence::new(sequence, signed)?);
        self.bytes += size;
        self.next = next;
        Ok(sequence)
    }

    /// What it still has, for the hello.
    #[must_use]
    pub fn span(&self) -> Span {
        let oldest = (self.waiting.front()).map_or(self.next, Evidence::sequence);
        // INVARIANT: what waits is before what is next.
        Span::new(oldest, self.next).unwrap_or_else(|| Span::empty(self.next))
    }

    /// What waits, the oldest first: to be kept over a restart.
    pub fn waiting(&self) -> impl Iterator<Item = &Evidence> {
        self.waiting.iter()
    }

    /// Begins a connection whose receiver has all up to `kept`; what it has is dropped.
    ///
    /// # Errors
    /// It cannot have that, or does not have any more what it had.
    pub fn resume(&mut self, kept: u64) -> Result<Cursor, ReceiptError> {
        let last = self.next.get() - 1;
        if kept > last {
            return Err(ReceiptError::NeverSent { kept, sent: last });
        }
        let dropped = self.span().oldest().get() - 1;
        if kept < dropped {
            return Err(ReceiptError::Lost { kept, dropped });
        }
        self.drop_up_to(kept);
        Ok(Cursor { sent: kept })
    }

    /// The next piece that this connection is to send; `None` until there is one.
    pub fn next(&self, cursor: &mut Cursor) -> Option<Evidence> {
        let oldest = self.span().oldest().get();
        let due = cursor.sent.max(oldest - 1) + 1;
        let index = usize::try_from(due - oldest).ok()?;
        let piece = self.waiting.get(index)?;
        cursor.sent = due;
        Some(piece.clone())
    }

    /// The receiver has all up to `kept` on this connection: drops it, and says how many pieces that were.
    ///
    /// # Errors
    /// They were not sent on it.
    pub fn receipt(&mut self, cursor: &Cursor, kept: u64) -> Result<usize, ReceiptError> {
        let sent = cursor.sent;
        if kept > sent {
            return Err(ReceiptError::NeverSent { kept, sent });
        }
        Ok(self.drop_up_to(kept))
    }

    fn drop_up_to(&mut self, kept: u64) -> usize {
        let mut dropped = 0;
        while let Some(oldest) = self
            .waiting
            .pop_front_if(|piece| piece.sequence().get() <= kept)
        {
            self.bytes -= oldest.signed().len();
            dropped += 1;
        }
        dropped
    }
}
