//! Having a host's card do what an operator signs.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use bartizan_attestation::certificates::FleetCa;
use bartizan_attestation::host::{
    FlowsEnd, FlowsSeen, FlowsTally, MAX_FRAME, OperationReply, OperationRequest, OperatorRefusal,
    OperatorReply,
};
use bartizan_attestation::identity::CardId;
use bartizan_attestation::operation::{Operation, OperationRefusal, Order, sign_order};
use bartizan_local::{FrameError, read_frame, write_frame};
use clap::Args;

use crate::operator::Credentials;

/// How long an answer may take: starting a guest hashes its disks.
const DEADLINE: Duration = Duration::from_secs(300);
/// How long an order is good: it is handed in at once, and clocks differ.
const LIFETIME_S: u64 = 120;
/// Bytes of a nonce.
const NONCE: usize = 32;

/// Where a host's card is, and which host is meant.
#[derive(Args, Clone, Debug)]
pub(crate) struct CardPlace {
    /// The card's socket for operators.
    #[arg(
        long = "card",
        env = "BARTIZAN_CARD",
        default_value = "/run/bartizan/card/operations.sock"
    )]
    socket: PathBuf,
    /// The host's card id, as `bartizan host list` has it. Without it the order is for whichever host the socket says it is; which
    /// one that was is told on standard error.
    #[arg(long, env = "BARTIZAN_HOST", value_name = "CARD")]
    host: Option<CardId>,
}

/// A host's card, and who orders.
#[derive(Args, Clone, Debug)]
pub(crate) struct Card {
    #[command(flatten)]
    pub(crate) place: CardPlace,
    #[command(flatten)]
    pub(crate) credentials: Credentials,
}

/// The card could not be asked, or it was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CardError {
    /// Nobody listens.
    #[error("the card cannot be reached at {socket}: {source}; does bartizan-card run?", socket = .socket.display())]
    Away {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The link broke.
    #[error(
        "the card did not answer: {0}; may this user connect (`operators_uids`)? Whether the order was done is in `bartizan host log`"
    )]
    Link(#[from] FrameError),
    /// The card refused.
    #[error(transparent)]
    Refused(#[from] OperationRefusal),
    /// The hypervisor refused.
    #[error(transparent)]
    NotDone(#[from] OperatorRefusal),
    /// It answered another question.
    #[error("the card answered something else; are both of one version?")]
    Unexpected,
}

impl Card {
    /// Has something done that the hypervisor answers.
    pub(crate) fn guests(&self, operation: Operation) -> Result<OperatorReply> {
        match self.order(operation)? {
            OperationReply::Guests(OperatorReply::Refused(refusal)) => {
                Err(CardError::NotDone(refusal).into())
            }
            OperationReply::Guests(reply) => Ok(reply),
            _ => Err(CardError::Unexpected.into()),
        }
    }

    /// Has something shown piece by piece; each but the last goes to `each`, whose failure ends it.
    pub(crate) fn observe(
        &self,
        operation: Operation,
        mut each: impl FnMut(FlowsSeen) -> Result<()>,
    ) -> Result<(FlowsEnd, FlowsTally)> {
        let (mut link, mut reply) = self.hand_in(operation)?;
        loop {
            match reply {
                OperationReply::Guests(OperatorReply::Seen(FlowsSeen::Ended { why, tally })) => {
                    return Ok((why, tally));
                }
                OperationReply::Guests(OperatorReply::Seen(seen)) => each(seen)?,
                OperationReply::Guests(OperatorReply::Refused(refusal)) => {
                    return Err(CardError::NotDone(refusal).into());
                }
                _ => return Err(CardError::Unexpected.into()),
            }
            reply = next(&mut link)?;
        }
    }

    /// The fleet CA that this operator trusts.
    pub(crate) fn fleet_ca(&self) -> Result<FleetCa> {
        self.credentials.fleet_ca()
    }

    /// Signs an order and has it done.
    pub(crate) fn order(&self, operation: Operation) -> Result<OperationReply> {
        let (_, reply) = self.hand_in(operation)?;
        Ok(reply)
    }

    /// The same, with the link by which more may come.
    fn hand_in(&self, operation: Operation) -> Result<(UnixStream, OperationReply)> {
        let (chain, key) = (self.credentials.chain()?, self.credentials.key()?);
        let mut link = self.connect()?;
        let host = match self.place.host {
            Some(host) => host,
            None => self.describe(&mut link)?,
        };
        let issued_at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let mut nonce = [0; NONCE];
        aws_lc_rs::rand::fill(&mut nonce)?;
        let order = Order {
            version: Order::VERSION,
            host,
            operation,
            nonce: nonce.to_vec().into(),
            issued_at,
            expires_at: issued_at + LIFETIME_S,
        };
        let signed = sign_order(&order, &chain, &key)?;
        let reply = exchange(&mut link, &OperationRequest::Perform(signed))?;
        Ok((link, reply))
    }

    fn connect(&self) -> Result<UnixStream, CardError> {
        let away = |source| CardError::Away {
            socket: self.place.socket.clone(),
            source,
        };
        let link = UnixStream::connect(&self.place.socket).map_err(away)?;
        link.set_read_timeout(Some(DEADLINE)).map_err(away)?;
        Ok(link)
    }

    fn describe(&self, link: &mut UnixStream) -> Result<CardId, CardError> {
        match exchange(link, &OperationRequest::Describe)? {
            OperationReply::Host(host) => {
                eprintln!("bartizan: at host {host}");
                Ok(host)
            }
            _ => Err(CardError::Unexpected),
        }
    }
}

fn exchange(
    link: &mut UnixStream,
    request: &OperationRequest,
) -> Result<OperationReply, CardError> {
    write_frame(link, request, MAX_FRAME)?;
    next(link)
}

fn next(link: &mut UnixStream) -> Result<OperationReply, CardError> {
    match read_frame(link, MAX_FRAME)? {
        OperationReply::Refused(refusal) => Err(refusal.into()),
        reply => Ok(reply),
    }
}
