//! Evidence of one stream: taken in order, verified, kept, acknowledged.
//!
//! What is not verified is kept all the same, with the reason: its enclave could send nothing else in its place, and whoever looks for
//! what went wrong needs it.

use std::time::Duration;

use bartizan_attestation::boot::Sha384;
use bartizan_attestation::evidence::{Evidence as Statement, Expected};
use bartizan_attestation::identity::CardId;
use bartizan_stream::message::{Detail, Evidence, Hello, Source};
use bartizan_stream::resume::{Inbox, InboxError, Taken};

use crate::boots::{self, BootError};
use crate::clock::{now_ms, now_s};
use crate::service::Service;
use crate::storage::{SourceStanding, Storage, StorageError};
use crate::task::{TaskError, blocking};

/// Bytes of evidence that are kept of one enclave in a second, on the whole: what comes faster waits where it comes from.
const PACE: u64 = 1 << 20;

/// The least that a piece has the next one wait.
const EACH: Duration = Duration::from_millis(50);

/// Where evidence of a stream goes.
#[derive(Debug)]
pub(super) struct EvidenceKeeper {
    card: CardId,
    source: Source,
    inbox: Inbox,
    /// The digest of the last piece, where it is known.
    previous: Option<Sha384>,
}

/// Evidence was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum EvidenceError {
    /// The enclave's numbers do not fit.
    #[error(transparent)]
    Inbox(#[from] InboxError),
    /// It could not be kept.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It could not be looked at.
    #[error(transparent)]
    Task(#[from] TaskError),
}

impl EvidenceKeeper {
    /// Goes on where the source was. What is lost is passed over, and said: its sender has dropped it, and waiting brings none back.
    pub(super) async fn resume(
        storage: &Storage,
        card: CardId,
        hello: &Hello,
    ) -> Result<Self, EvidenceError> {
        let (source, span) = (hello.source, hello.span);
        let before = span.oldest().get() - 1;
        let kept = match storage.evidence_standing(card, source).await? {
            SourceStanding::Known(kept) => kept,
            SourceStanding::New => 0,
        };
        let last = storage.evidence_piece(card, source, kept).await?;
        let mut previous = last.map(|signed| Statement::digest(&signed));
        let mut inbox = Inbox::new(kept);
        match inbox.resume(span) {
            Ok(()) => {}
            Err(InboxError::Gap { due, found }) => {
                tracing::error!(%card, due, found, "evidence of this host's enclave is lost");
                storage
                    .skip_evidence(card, source, before, now_ms())
                    .await?;
                (inbox, previous) = (Inbox::new(before), None);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(Self {
            card,
            source,
            inbox,
            previous,
        })
    }

    /// Keeps a piece; it is durable once this returns.
    pub(super) async fn keep(
        &mut self,
        service: &Service,
        evidence: &Evidence,
    ) -> Result<(), EvidenceError> {
        let mut next = self.inbox;
        if next.take(evidence.sequence().get())? == Taken::New {
            let (card, source) = (self.card, self.source);
            let refused = self.refusal(service, evidence).await?;
            service
                .storage
                .keep_evidence(card, source, evidence, refused.as_deref(), now_ms())
                .await?;
            self.inbox = next;
            self.previous = Some(Statement::digest(evidence.signed()));
        }
        Ok(())
    }

    /// Why nothing of a piece is believed, if it is not.
    ///
    /// Known attack: a host boots a release that is retired, whose enclave states what it likes and leaves it to the next one to be handed in.
    async fn refusal(
        &self,
        service: &Service,
        evidence: &Evidence,
    ) -> Result<Option<String>, EvidenceError> {
        let expected = Expected {
            card: self.card,
            source: self.source.0,
            sequence: evidence.sequence(),
            previous: self.previous,
        };
        let (ca, signed) = (service.anchors.ca(), evidence.signed().clone());
        let verified = blocking(move || Statement::verify(&signed, &expected, &ca, now_s())).await;
        let why = match verified? {
            Err(error) => error.to_string(),
            Ok((_, key)) => match boots::releases(service, self.card, &key.phases).await {
                Ok(_) => return Ok(None),
                Err(BootError::Storage(error)) => return Err(error.into()),
                Err(error) => error.to_string(),
            },
        };
        let why = Detail::cut(&why);
        let (card, sequence) = (self.card, evidence.sequence());
        tracing::error!(%card, sequence, why = why.as_str(), "evidence of this host's enclave is not believed");
        Ok(Some(why.as_str().into()))
    }

    /// All up to this number is durable.
    pub(super) const fn kept(&self) -> u64 {
        self.inbox.taken()
    }

    /// How long to read nothing after a piece of so many bytes. Each costs a commit and three signatures, however small it is.
    pub(super) fn pause(evidence: &Evidence) -> Duration {
        let by_bytes = evidence.signed().len() as u64 * 1_000_000 / PACE;
        Duration::from_micros(by_bytes).max(EACH)
    }
}
