//! One question, one answer, over a local link, with a deadline.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bartizan_attestation::host::{
    CardRefusal, CardReply, CardRequest, GuestStatus, HostDescription, MAX_FRAME, SupervisorReply,
    SupervisorRequest,
};
use bartizan_local::{FrameError, aio};
use minicbor::{Decode, Encode};
use tokio::net::UnixStream;

use super::started::StartedError;

/// Longest answer of a supervisor: a measurement waits its turn behind others of the same guest.
const SUPERVISOR_DEADLINE: Duration = Duration::from_secs(60);
/// Longest answer of a supervisor that only tells what it knows.
const STATUS_DEADLINE: Duration = Duration::from_secs(5);
/// Longest answer of a supervisor that stops its guest: the guest has 60 s to switch itself off.
const STOP_DEADLINE: Duration = Duration::from_secs(75);
/// Largest answer of a supervisor that is no report and no console output, in bytes: a launch record and some certificates.
pub(super) const MAX_ANSWER: usize = 256 << 10;
/// Longest answer of the card: it may wait for the verifier.
const CARD_DEADLINE: Duration = Duration::from_secs(30);

/// A process of this host could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Nobody listens.
    #[error("the {0} is not running; it may be restarting, try again: {1}")]
    Away(&'static str, std::io::Error),
    /// It did not answer in time.
    #[error("the {0} did not answer within {1:?}")]
    TimedOut(&'static str, Duration),
    /// It answered something that is no message.
    #[error("the link to the {0} failed: {1}")]
    Frame(&'static str, FrameError),
    /// The card refused.
    #[error(transparent)]
    Card(#[from] CardRefusal),
    /// An answer to another question.
    #[error("the {0} answered something else")]
    Unexpected(&'static str),
    /// A supervisor says that its guest is another than the one that it was started for.
    #[error(
        "the supervisor claims another {0} than its guest was started with; end it with `bartizan vm stop --force`"
    )]
    Impostor(&'static str),
    /// What was started cannot be known.
    #[error(transparent)]
    Started(#[from] StartedError),
}

/// The card.
#[derive(Clone, Debug)]
pub struct CardLink(Arc<PathBuf>);

/// A guest's supervisor.
#[derive(Clone, Debug)]
pub struct SupervisorLink(Arc<PathBuf>);

impl CardLink {
    /// The card behind a socket.
    pub fn new(socket: PathBuf) -> Self {
        Self(Arc::new(socket))
    }

    /// Asks; a refusal is an error.
    pub async fn ask(&self, request: &CardRequest) -> Result<CardReply, LinkError> {
        match ask("card", &self.0, request, (CARD_DEADLINE, MAX_FRAME)).await? {
            CardReply::Refused(refusal) => Err(refusal.into()),
            reply => Ok(reply),
        }
    }

    /// Who this host is.
    pub async fn host(&self) -> Result<HostDescription, LinkError> {
        match self.ask(&CardRequest::Describe).await? {
            CardReply::Host(host) => Ok(host),
            _ => Err(LinkError::Unexpected("card")),
        }
    }
}

impl SupervisorLink {
    /// The supervisor behind a socket.
    pub fn new(socket: PathBuf) -> Self {
        Self(Arc::new(socket))
    }

    /// Asks.
    pub async fn ask(&self, request: &SupervisorRequest) -> Result<SupervisorReply, LinkError> {
        let bounds = (SUPERVISOR_DEADLINE, MAX_FRAME);
        ask("supervisor", &self.0, request, bounds).await
    }

    /// How the guest is. A supervisor that does not say so within 5 s is unresponsive.
    pub async fn status(&self) -> Result<GuestStatus, LinkError> {
        let request = SupervisorRequest::Status;
        let bounds = (STATUS_DEADLINE, MAX_ANSWER);
        match ask("supervisor", &self.0, &request, bounds).await? {
            SupervisorReply::Status(status) => Ok(status),
            _ => Err(LinkError::Unexpected("supervisor")),
        }
    }

    /// Stops the guest; answers when it is down. One that is to be down at once has no time to switch itself off.
    pub async fn stop(&self, force: bool) -> Result<SupervisorReply, LinkError> {
        let request = SupervisorRequest::Stop { force };
        let deadline = if force {
            STATUS_DEADLINE
        } else {
            STOP_DEADLINE
        };
        ask("supervisor", &self.0, &request, (deadline, MAX_ANSWER)).await
    }

    /// Opens a stream of what happens to the guest.
    pub async fn watch(&self) -> Result<UnixStream, LinkError> {
        let mut link = connect("supervisor", &self.0).await?;
        aio::write_frame(&mut link, &SupervisorRequest::Watch, MAX_FRAME)
            .await
            .map_err(|error| LinkError::Frame("supervisor", error))?;
        Ok(link)
    }
}

async fn connect(who: &'static str, socket: &PathBuf) -> Result<UnixStream, LinkError> {
    UnixStream::connect(socket)
        .await
        .map_err(|error| LinkError::Away(who, error))
}

async fn ask<Q, A>(
    who: &'static str,
    socket: &PathBuf,
    question: &Q,
    (deadline, most): (Duration, usize),
) -> Result<A, LinkError>
where
    Q: Encode<()>,
    A: Encode<()> + for<'b> Decode<'b, ()>,
{
    let conversation = async {
        let mut link = connect(who, socket).await?;
        let failed = |error| LinkError::Frame(who, error);
        aio::write_frame(&mut link, question, MAX_FRAME)
            .await
            .map_err(failed)?;
        aio::read_frame(&mut link, most).await.map_err(failed)
    };
    tokio::time::timeout(deadline, conversation)
        .await
        .map_err(|_| LinkError::TimedOut(who, deadline))?
}
