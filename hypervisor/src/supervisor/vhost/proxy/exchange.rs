//! Questions and orders to a back end, with deadlines.

use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;

use super::super::{Link, LinkError, MemoryError, Message, MessageError, Recorded, Request};

/// How long a back end has for one message.
const DEADLINE: Duration = Duration::from_secs(2);

/// A back end is of no further use.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Memory(#[from] MemoryError),
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error("no answer to {0:?} within {DEADLINE:?}")]
    TimedOut(Request),
    #[error("another answer than to {0:?}")]
    OtherAnswer(Request),
    #[error("the features {0:#x} that the guest uses are no longer offered")]
    FeaturesLost(u64),
}

/// Sends a message that is not answered.
pub(super) async fn tell(link: &mut Link, message: &Message) -> Result<(), ExchangeError> {
    let sent = link.send(message.header, &message.payload, &message.descriptors);
    in_time(message.header.request, sent).await
}

/// Sends a message and waits for its answer.
pub(super) async fn ask(link: &mut Link, message: &Message) -> Result<Message, ExchangeError> {
    tell(link, message).await?;
    let request = message.header.request;
    let answer = in_time(request, link.receive()).await?;
    if !answer.header.reply
        || answer.header.request != request
        || !answer.descriptors.is_empty()
        || !has_answers_size(message, &answer)
    {
        return Err(ExchangeError::OtherAnswer(request));
    }
    Ok(answer)
}

/// Brings a new back end to where the record is; checks first that it offers what is in use.
pub(super) async fn bring_up(link: &mut Link, recorded: &Recorded) -> Result<(), ExchangeError> {
    let in_use = [
        (Request::GetFeatures, recorded.features),
        (Request::GetProtocolFeatures, recorded.protocol_features),
    ];
    for (request, features) in in_use {
        let Some(features) = features else { continue };
        let offered = ask(link, &Message::new(request, Vec::new()))
            .await?
            .number()?;
        if features & !offered != 0 {
            return Err(ExchangeError::FeaturesLost(features & !offered));
        }
    }
    for message in recorded.repeat()? {
        let sent = link.send(message.header, &message.payload, message.descriptors);
        in_time(message.header.request, sent).await?;
    }
    Ok(())
}

/// Leaves a back end, and waits until it has ended: then it writes to the guest's RAM no more. Returns whether it has.
pub(super) async fn leave(link: Link) -> bool {
    timeout(DEADLINE, link.end()).await.is_ok()
}

/// Whether an answer has the size that QEMU expects: what a devices process says is not QEMU's to trust.
fn has_answers_size(question: &Message, answer: &Message) -> bool {
    match question.header.request {
        // The same space, filled; or nothing, which says that there is none.
        Request::GetConfig => {
            answer.payload.len() == question.payload.len() || answer.payload.is_empty()
        }
        Request::GetRingBase => {
            matches!((question.ring(), answer.ring()), (Ok(a), Ok(b)) if a.index == b.index)
        }
        _ => answer.number().is_ok(),
    }
}

async fn in_time<T>(
    request: Request,
    step: impl Future<Output = Result<T, LinkError>>,
) -> Result<T, ExchangeError> {
    Ok(timeout(DEADLINE, step)
        .await
        .map_err(|_| ExchangeError::TimedOut(request))??)
}
