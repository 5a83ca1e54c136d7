//! Evidence: signed, kept with the state, sent, and dropped once the verifier has it.
//!
//! A piece is sent only after the card has kept it: whatever the verifier has seen, the next machine knows of, and goes on behind it.

use bartizan_attestation::boot::Sha384;
use bartizan_attestation::cose::SignError;
use bartizan_attestation::evidence::{Evidence, Statement, What as Happened};
use bartizan_attestation::identity::CardId;
use bartizan_stream::Bytes;
use bartizan_stream::message::Evidence as Piece;
use bartizan_stream::resume::{Cursor, Outbox, OutboxError, ReceiptError};
use tokio::time::Instant;

use super::super::wishes::Then;
use super::{Held, Inner, Standing};
use crate::keys::Keys;
use crate::ruling::Ruling;
use crate::run::now_s;
use crate::sealed::{EVIDENCE_LIMITS, SealError, State};
use crate::witness::Gathered;

/// Most pieces that are signed at once, which costs one write of the state.
const AT_ONCE: usize = 8;
/// Room that a piece is sure to fit into, in bytes: its payload, and a chain of two certificates.
const PIECE: usize = 56 << 10;

/// What happened was not signed or kept.
#[derive(Debug, thiserror::Error)]
enum Untold {
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl Held {
    /// Signs what has happened, if it is time to, and has it kept.
    pub fn testify(&self, keys: &Keys, ruling: &Ruling) {
        let mut inner = self.inner();
        inner.note_in_force(ruling);
        let (true, Some(state), Some(card)) =
            (inner.may_testify(keys), inner.state(), inner.card())
        else {
            return;
        };
        let gathered = ruling
            .witness()
            .take(inner.room_for_pieces(), Instant::now());
        if gathered.is_empty() {
            return;
        }
        if let Err(error) = inner.keep_evidence(keys, (card, state), &gathered) {
            tracing::error!(%error, "what happened cannot be signed or kept: it is counted, and lost");
            ruling.witness().lost(&gathered);
        }
        drop(inner);
        self.changed();
    }

    /// Returns once there is something to [`testify`](Self::testify).
    pub async fn until_testified(&self, keys: &Keys, ruling: &Ruling) {
        let (mut changes, mut in_force) = (self.changes(), ruling.in_force());
        loop {
            let may = {
                let mut inner = self.inner();
                inner.note_in_force(ruling);
                inner.may_testify(keys) && inner.room_for_pieces() > 0
            };
            tokio::select! {
                () = ruling.witness().until_due(), if may => return,
                // INVARIANT: the senders are in `self` and `ruling`.
                _ = changes.changed() => {}
                _ = in_force.changed() => {}
            }
        }
    }

    /// Begins a stream to a verifier that has all evidence up to this number.
    pub(in crate::policing) fn resume(&self, kept: u64) -> Result<Cursor, ReceiptError> {
        let cursor = self.inner().outbox.resume(kept);
        self.changed();
        cursor
    }

    /// The next piece that this stream is to send.
    pub(in crate::policing) fn next_piece(&self, cursor: &mut Cursor) -> Option<Piece> {
        self.inner().outbox.next(cursor)
    }

    /// The verifier has all up to this number. The state forgets them when it is written next.
    pub(in crate::policing) fn receipt(
        &self,
        cursor: &Cursor,
        kept: u64,
    ) -> Result<(), ReceiptError> {
        let dropped = self.inner().outbox.receipt(cursor, kept)?;
        tracing::debug!(kept, dropped, "the verifier has evidence");
        self.changed();
        Ok(())
    }
}

impl Inner {
    fn may_testify(&self, keys: &Keys) -> bool {
        let free = matches!(&self.standing, Standing::Kept(kept) if !kept.is_storing());
        // Known failure: after its clock was set, or it stood still for long, it signs what is refused, and that is lost.
        free && keys.may_testify(now_s())
    }

    fn room_for_pieces(&self) -> usize {
        let (mut pieces, mut bytes) = (0, 0);
        for piece in self.outbox.waiting() {
            pieces += 1;
            bytes += piece.signed().len();
        }
        let by_bytes = EVIDENCE_LIMITS.bytes.saturating_sub(bytes) / PIECE;
        let by_pieces = EVIDENCE_LIMITS.pieces.saturating_sub(pieces);
        AT_ONCE.min(by_bytes).min(by_pieces)
    }

    /// Says once that every packet is judged by the set that rules.
    fn note_in_force(&mut self, ruling: &Ruling) {
        let Some((held, _)) = &self.ruling else {
            return;
        };
        let held = *held;
        let is_in_force = *ruling.in_force().borrow() >= held.number.get();
        if is_in_force && self.testified != Some(held) {
            self.testified = Some(held);
            ruling.witness().note(Happened::InForce {
                set: held.number,
                digest: Sha384(held.digest),
            });
        }
    }

    fn keep_evidence(
        &mut self,
        keys: &Keys,
        (card, state): (CardId, State),
        gathered: &[Gathered],
    ) -> Result<(), Untold> {
        let chain = keys.evidence_chain();
        let mut outbox = self.outbox.clone();
        let mut previous = state.previous;
        let mut pieces = Vec::with_capacity(gathered.len());
        for Gathered { events, dropped } in gathered {
            let evidence = Evidence {
                issued_at: now_s(),
                card,
                statement: Statement {
                    source: state.source.0,
                    sequence: outbox.span().next(),
                    previous,
                    events: events.clone(),
                    dropped: *dropped,
                },
            };
            let signed = Bytes::from(evidence.sign(&chain, &keys.evidence)?);
            previous = Some(Evidence::digest(&signed));
            outbox.push(signed.clone())?;
            pieces.push(signed);
        }
        let state = State {
            next: outbox.span().next(),
            previous,
            waiting: waiting(&outbox),
            ..state
        };
        if let Standing::Kept(kept) = &mut self.standing {
            kept.begin(state)?;
            self.then = Some(Then::Sends(pieces));
        }
        Ok(())
    }

    /// Pieces are kept: they may be sent.
    pub(super) fn sends(&mut self, pieces: Vec<Bytes>) {
        for piece in pieces {
            if let Err(error) = self.outbox.push(piece) {
                // INVARIANT: there was room when they were signed, and there can only be more since.
                tracing::error!(%error, "evidence that is kept is not sent by this machine");
            }
        }
    }

    fn card(&self) -> Option<CardId> {
        match &self.standing {
            Standing::Kept(kept) => Some(kept.card()),
            _ => None,
        }
    }

    /// The state, for a change of it: without the evidence that the verifier has by now.
    pub(super) fn state(&self) -> Option<State> {
        match &self.standing {
            Standing::Kept(kept) => Some(State {
                waiting: waiting(&self.outbox),
                ..kept.state().clone()
            }),
            _ => None,
        }
    }
}

fn waiting(outbox: &Outbox) -> Vec<Bytes> {
    outbox
        .waiting()
        .map(|piece| piece.signed().clone())
        .collect()
}
