//! One stream, from its hello to its end.

use std::sync::Arc;
use std::time::Duration;

use bartizan_attestation::identity::CardId;
use bartizan_stream::message::{Down, Hello, RefusalReason, Up};
use bartizan_stream::server::{DownSender, Opening, UpReceiver};
use bartizan_stream::{Code, StreamError};
use tokio::sync::watch;
use tokio::time::{Instant, interval, sleep_until, timeout};

use super::admit::may_stream;
use super::commands::Commands;
use super::evidence::{EvidenceError, EvidenceKeeper};
use super::news::{News, NotSent};
use super::{Admitted, Place, SentSet, trust_of};
use crate::api::AccessError;
use crate::clock::{now_ms, now_s};
use crate::cut::Cut;
use crate::memory::MemoryError;
use crate::payer::Payer;
use crate::peer::Peer;
use crate::problem::ProblemType;
use crate::service::Service;
use crate::storage::{CommandAnswer, InForce, Refused, StorageError, outcome_word};

/// How often it is asked anew whether a stream may go on, beside whenever somebody is revoked.
const ASK_EVERY: Duration = Duration::from_secs(30);
/// How long an enclave may take to learn why its stream has ended, and to close the connection.
const FAREWELL: Duration = Duration::from_secs(5);

/// A stream has ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("this stream said nothing for {0} s")]
    Silent(u64),
    #[error("another stream of this card took its place")]
    Superseded,
    #[error("the verifier is shutting down")]
    Stopping,
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("the enclave does not take what it is sent")]
    Slow,
    #[error("the enclave did not say in {0} s what became of the set of policies")]
    Unanswered(u64),
    #[error(transparent)]
    NotSent(#[from] NotSent),
    #[error("the enclave answers for a command that it was not sent")]
    NoCommand,
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    #[error(transparent)]
    Memory(#[from] MemoryError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl End {
    fn code(&self) -> Code {
        match self {
            Self::Stream(_) | Self::NotSent(_) | Self::NoCommand => Code::InvalidArgument,
            Self::Silent(_) | Self::Unanswered(_) | Self::Slow => Code::DeadlineExceeded,
            Self::Superseded => Code::Aborted,
            Self::Access(error) if error.kind().1.is_client_error() => Code::PermissionDenied,
            Self::Evidence(EvidenceError::Inbox(_)) => Code::DataLoss,
            Self::Memory(_) => Code::ResourceExhausted,
            Self::Stopping
            | Self::Access(_)
            | Self::Evidence(EvidenceError::Storage(_) | EvidenceError::Task(_))
            | Self::Storage(_) => Code::Unavailable,
        }
    }
}

/// Speaks with an enclave that was admitted until the stream ends, or must; then its connection is ended by `cut`.
pub async fn converse(
    service: Arc<Service>,
    (peer, admitted): (Peer, Admitted),
    opening: Opening,
    cut: Cut,
    ending: watch::Receiver<bool>,
) {
    let card = admitted.card;
    let patience = service.config.limits.head_s;
    let hello = timeout(Duration::from_secs(patience), opening.hello()).await;
    let (hello, up, down) = match hello.map_err(|_| End::Silent(patience)) {
        Ok(Ok(begun)) => begun,
        Ok(Err(error)) => return ended(card, &error.into(), &cut).await,
        Err(error) => return ended(card, &error, &cut).await,
    };
    let conversation = Conversation {
        place: service.streams.place(card),
        news: News::new(service.streams.set.subscribe(), hello.in_force),
        commands: Commands::default(),
        service: &service,
        card,
        peer: &peer,
        not_after: admitted.not_after,
        up,
        down: &down,
    };
    let Err(end) = conversation.run(&hello, ending).await;
    down.end(end.code(), &end.to_string());
    ended(card, &end, &cut).await;
}

async fn ended(card: CardId, end: &End, cut: &Cut) {
    match end {
        End::Stream(StreamError::Closed | StreamError::Ended { .. }) | End::Stopping => {
            tracing::info!(%card, %end, "stream ended");
        }
        _ => tracing::warn!(%card, %end, "stream ended"),
    }
    if !matches!(end, End::Slow) {
        tokio::time::sleep(FAREWELL).await;
    }
    cut.cut();
}

struct Conversation<'s> {
    service: &'s Service,
    card: CardId,
    peer: &'s Peer,
    not_after: u64,
    place: Place<'s>,
    news: News,
    commands: Commands,
    up: UpReceiver,
    down: &'s DownSender,
}

/// What happens next.
enum Event {
    Said(Result<Up, StreamError>),
    Set,
    Trust,
    Ordered,
    Ask,
}

impl Conversation<'_> {
    async fn run(
        mut self,
        hello: &Hello,
        mut ending: watch::Receiver<bool>,
    ) -> Result<std::convert::Infallible, End> {
        let (storage, card) = (&self.service.storage, self.card);
        let mut keeper = EvidenceKeeper::resume(storage, card, hello).await?;
        self.send(Down::EvidenceKept(keeper.kept())).await?;
        tracing::info!(%card, kept = keeper.kept(), "an enclave holds a stream open");
        if let Some(set) = hello.in_force {
            let (number, digest) = (set.number.get(), set.digest);
            self.keep_in_force(number, digest, None).await?;
        }
        for found in storage.last_statuses(card).await? {
            let trust = trust_of(&found.status);
            self.place.line.tell(&found.guest, found.verdict, trust);
        }
        let mut decisions = self.service.streams.decisions.subscribe();
        let mut ask = interval(ASK_EVERY);
        let answer_s = self.service.config.limits.stream_answer_s;
        let (mut answer_by, mut read_after) = (Instant::now(), Instant::now());
        loop {
            if let Some(set) = self.news.due()
                && self.send_set(&set).await?
            {
                answer_by = Instant::now() + Duration::from_secs(answer_s);
            }
            if let Some(command) = self.commands.due(storage, card).await? {
                // Its answer may take as long as devices are away: it is none of the stream's not to be, and an enclave that hangs is
                // found out where it runs.
                self.send(command).await?;
            }
            let awaited = self.news.is_awaited();
            let line = Arc::clone(&self.place.line);
            let up = &mut self.up;
            let said = async move {
                sleep_until(read_after).await;
                up.next().await
            };
            let event = tokio::select! {
                () = line.superseded.notified() => return Err(End::Superseded),
                _ = ending.wait_for(|ending| *ending) => return Err(End::Stopping),
                () = sleep_until(answer_by), if awaited => return Err(End::Unanswered(answer_s)),
                said = said => Event::Said(said),
                () = self.news.changed() => Event::Set,
                () = line.news.notified() => Event::Trust,
                () = line.commands.notified() => Event::Ordered,
                _ = ask.tick() => Event::Ask,
                Ok(()) = decisions.changed() => Event::Ask,
            };
            match event {
                Event::Said(said) => {
                    let up = said?;
                    if let Up::Evidence(evidence) = &up {
                        keeper.keep(self.service, evidence).await?;
                        read_after = Instant::now() + EvidenceKeeper::pause(evidence);
                        self.send(Down::EvidenceKept(keeper.kept())).await?;
                    } else {
                        self.take(up).await?;
                    }
                }
                Event::Set => {}
                Event::Ordered => self.commands.ordered(),
                Event::Trust => {
                    for (guest, trust) in self.place.line.take_news() {
                        self.send(Down::Appraisal { guest, trust }).await?;
                    }
                }
                Event::Ask => {
                    may_stream(self.service, self.peer).await?;
                    if now_s() > self.not_after {
                        return Err(AccessError::CertificateExpired.into());
                    }
                }
            }
        }
    }

    /// Takes what is no evidence.
    async fn take(&mut self, up: Up) -> Result<(), End> {
        match up {
            Up::PolicyInForce { set, guests } => {
                self.news.in_force(set)?;
                let guests = guests.as_slice().len() as u64;
                let (number, digest) = (set.number.get(), set.digest);
                self.keep_in_force(number, digest, Some(guests)).await
            }
            Up::PolicyRefused {
                number,
                reason,
                detail,
            } => {
                self.news.refused(number)?;
                let number = number.get();
                let (card, detail) = (self.card, detail.as_str());
                tracing::warn!(%card, number, detail, "an enclave refuses the set of policies");
                let refused = Refused {
                    number,
                    reason: word(reason).into(),
                    detail: detail.into(),
                    at_ms: now_ms(),
                };
                Ok(self.service.storage.set_refused(card, &refused).await?)
            }
            Up::CommandDone {
                number,
                outcome,
                detail,
            } => {
                if !self.commands.answered(number) {
                    return Err(End::NoCommand);
                }
                let answer = CommandAnswer {
                    outcome,
                    detail: detail.as_str().into(),
                    at_ms: now_ms(),
                };
                let (card, word) = (self.card, outcome_word(outcome));
                tracing::info!(%card, number, outcome = word, "an enclave answers for a command");
                let storage = &self.service.storage;
                storage.command_answered(card, number, &answer).await?;
                self.service
                    .streams
                    .answers
                    .send_modify(|count| *count += 1);
                Ok(())
            }
            // Taken where it is kept.
            Up::Evidence(_) => Ok(()),
        }
    }

    async fn keep_in_force(
        &self,
        number: u64,
        digest: [u8; 48],
        guests: Option<u64>,
    ) -> Result<(), End> {
        let set = InForce {
            number,
            digest,
            guests,
            at_ms: now_ms(),
        };
        Ok(self.service.storage.set_in_force(self.card, &set).await?)
    }

    /// Sends the set, once there is memory for it: streams take turns. Whether it was sent: where the enclave has not answered for
    /// another yet, nothing waits for more memory than there is, since its answer gives some back.
    async fn send_set(&mut self, set: &SentSet) -> Result<bool, End> {
        let (payer, bytes) = (Payer::Host(self.card), 2 * set.set.size());
        let memory = &self.service.stream_memory;
        let share = if self.news.is_awaited() {
            let Ok(share) = memory.try_take(&payer, bytes) else {
                return Ok(false);
            };
            share
        } else {
            let patience = Duration::from_secs(self.service.config.limits.stream_answer_s);
            let until = Instant::now() + patience;
            memory.take(&payer, bytes, until).await?
        };
        self.send(Down::PolicySet(set.set.clone())).await?;
        self.news.sent(set, share);
        Ok(true)
    }

    async fn send(&self, down: Down) -> Result<(), End> {
        let patience = Duration::from_secs(self.service.config.limits.stream_answer_s);
        let sent = timeout(patience, self.down.send(down)).await;
        Ok(sent.map_err(|_| End::Slow)??)
    }
}

const fn word(reason: RefusalReason) -> &'static str {
    match reason {
        RefusalReason::Rollback => "rollback",
        RefusalReason::Author => "author",
        RefusalReason::Malformed => "malformed",
        RefusalReason::Failed => "failed",
    }
}
