//! Messages to the verifier, from and to bytes.

use prost::bytes::Bytes;

use super::parts::{from_one, missing};
use super::shape::canonical;
use super::{Detail, Evidence, GuestPolicies, Hello, MessageError, Up};
use crate::limits::{MAX_GUESTS, MAX_UP};
use crate::wire;

/// What comes on a stream to the verifier, wherever in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// The first message.
    Hello(Hello),
    /// Any other.
    Up(Up),
}

impl Said {
    pub(crate) fn decode(message: &Bytes) -> Result<Self, MessageError> {
        let read: wire::Up = canonical(message, MAX_UP, MAX_GUESTS + 1)?;
        Self::try_from(read)
    }

    pub(crate) fn to_wire(&self) -> wire::Up {
        let message = match self {
            Self::Hello(hello) => wire::UpMessage::Hello((*hello).into()),
            Self::Up(up) => up.into(),
        };
        wire::Up {
            message: Some(message),
        }
    }
}

impl TryFrom<wire::Up> for Said {
    type Error = MessageError;

    fn try_from(read: wire::Up) -> Result<Self, MessageError> {
        use wire::UpMessage as Message;
        let up = match read.message.ok_or(MessageError::Kind)? {
            Message::Hello(hello) => return Ok(Self::Hello(hello.try_into()?)),
            Message::Evidence(evidence) => {
                let sequence = from_one("evidence.sequence", evidence.sequence)?;
                Up::Evidence(Evidence::new(sequence, evidence.signed)?)
            }
            Message::PolicyInForce(of) => {
                let set = of.set.ok_or(missing("policy_in_force.set"))?;
                let guests: Result<_, _> = of.guests.into_iter().map(TryInto::try_into).collect();
                Up::PolicyInForce {
                    set: set.try_into()?,
                    guests: GuestPolicies::new(guests?)?,
                }
            }
            Message::PolicyRefused(of) => Up::PolicyRefused {
                number: from_one("policy_refused.number", of.number)?,
                reason: of.reason().try_into()?,
                detail: Detail::new(of.detail)?,
            },
            Message::CommandDone(of) => Up::CommandDone {
                number: from_one("command_done.number", of.number)?,
                outcome: of.outcome().try_into()?,
                detail: Detail::new(of.detail)?,
            },
        };
        Ok(Self::Up(up))
    }
}

impl From<&Up> for wire::UpMessage {
    fn from(up: &Up) -> Self {
        match up {
            Up::Evidence(evidence) => Self::Evidence(wire::Evidence {
                sequence: evidence.sequence().get(),
                signed: evidence.signed().clone(),
            }),
            Up::PolicyInForce { set, guests } => Self::PolicyInForce(wire::PolicyInForce {
                set: Some((*set).into()),
                guests: guests.as_slice().iter().copied().map(Into::into).collect(),
            }),
            Up::PolicyRefused {
                number,
                reason,
                detail,
            } => Self::PolicyRefused(wire::PolicyRefused {
                number: number.get(),
                reason: wire::RefusalReason::from(*reason).into(),
                detail: detail.as_str().into(),
            }),
            Up::CommandDone {
                number,
                outcome,
                detail,
            } => Self::CommandDone(wire::CommandDone {
                number: number.get(),
                outcome: wire::CommandOutcome::from(*outcome).into(),
                detail: detail.as_str().into(),
            }),
        }
    }
}
