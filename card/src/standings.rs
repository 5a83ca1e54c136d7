//! Questions of operators' standings on their way to the verifier: few of one operator's at once, however many ask them.
//!
//! Known attack: guests that reboot in a loop ask at each boot, and while the verifier is slow they hold all turns, so that an operator
//! launches nothing. So who asks about an operator shares the next question of that operator, which may wait for the one before it:
//! never one that was sent before they came, which may be answered as things were before a revocation that they know of.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bartizan_attestation::host::CardRefusal;
use bartizan_channel::ChannelError;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::verifier::{busy, unanswered};

/// How long a question waits for its turn, and for its answer: together less than whoever starts a guest waits for the card.
const DEADLINES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(20));
/// How long an operator's question waits for the answer to the one before it. Less than the wait for a turn: a slow answer makes nobody
/// miss theirs.
const HEAD_START: Duration = Duration::from_secs(4);
/// Connections at once for such questions alone: however many requests of guests are under way, they neither keep an operator
/// from launching nor buy the older answer.
const CONNECTIONS: usize = 16;

/// Whether an operator is revoked.
type Answer = Result<bool, CardRefusal>;

/// What is under way.
#[derive(Debug)]
pub(crate) struct Standings {
    turns: Semaphore,
    lines: Mutex<BTreeMap<String, Arc<Line>>>,
}

/// An operator's last question. Held by who asks the next, until that is sent.
type Line = tokio::sync::Mutex<Option<Sent>>;

#[derive(Debug)]
struct Sent {
    at: Instant,
    answer: watch::Receiver<Option<Answer>>,
}

/// How an answer is had.
enum Turn<'a> {
    Ask(SemaphorePermit<'a>, watch::Sender<Option<Answer>>),
    Share(watch::Receiver<Option<Answer>>),
}

impl Standings {
    pub(crate) fn new() -> Self {
        Self {
            turns: Semaphore::new(CONNECTIONS),
            lines: Mutex::default(),
        }
    }

    /// The answer to a question of this operator's standing, which is this one or another that is sent after now.
    pub(crate) async fn ask(
        &self,
        operator: &str,
        question: impl Future<Output = Answer>,
    ) -> Answer {
        let came = Instant::now();
        let line = self.line(operator);
        match timeout(DEADLINES.0, self.turn(&line, came)).await {
            Ok(Some(Turn::Ask(_turn, tell))) => {
                let answer = timeout(DEADLINES.1, question).await;
                let answer = answer.unwrap_or_else(|_| Err(unanswered(&ChannelError::TimedOut)));
                tell.send_replace(Some(answer.clone()));
                answer
            }
            Ok(Some(Turn::Share(mut answer))) => {
                let told = answer.wait_for(Option::is_some).await;
                // Nobody tells where whoever asked is gone.
                told.ok()
                    .and_then(|answer| answer.clone())
                    .unwrap_or_else(|| Err(busy(CONNECTIONS)))
            }
            Ok(None) | Err(_) => Err(busy(CONNECTIONS)),
        }
    }

    /// None where there are no turns any more.
    async fn turn(&self, line: &Line, came: Instant) -> Option<Turn<'_>> {
        let mut last = line.lock().await;
        if let Some(sent) = &mut *last {
            if sent.at > came {
                return Some(Turn::Share(sent.answer.clone()));
            }
            let answered = sent.answer.wait_for(Option::is_some);
            let _late = timeout_at(sent.at + HEAD_START, answered).await.is_err();
        }
        let turn = self.turns.acquire().await.ok()?;
        let (tell, answer) = watch::channel(None);
        let at = Instant::now();
        *last = Some(Sent { at, answer });
        Some(Turn::Ask(turn, tell))
    }

    fn line(&self, operator: &str) -> Arc<Line> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        // Of whom nobody asks any more, no question is under way.
        lines.retain(|_, line| Arc::strong_count(line) > 1);
        Arc::clone(lines.entry(operator.to_owned()).or_default())
    }

    /// As if others had all turns.
    #[cfg(test)]
    pub(crate) async fn taken(&self) -> SemaphorePermit<'_> {
        let all = u32::try_from(CONNECTIONS).unwrap();
        self.turns.acquire_many(all).await.unwrap()
    }
}

#[cfg(test)]
mod tests;
