//! Messages to the enclave, from and to bytes.

use prost::bytes::Bytes;

use super::parts::{from_one, missing};
use super::shape::canonical;
use super::{Down, MessageError, PolicySet};
use crate::limits::{MAX_DOWN, MAX_POLICIES};
use crate::wire;

impl Down {
    pub(crate) fn decode(message: &Bytes) -> Result<Self, MessageError> {
        let read: wire::Down = canonical(message, MAX_DOWN, MAX_POLICIES + 1)?;
        Self::try_from(read)
    }

    pub(crate) fn to_wire(&self) -> wire::Down {
        wire::Down {
            message: Some(self.into()),
        }
    }
}

impl TryFrom<wire::Down> for Down {
    type Error = MessageError;

    fn try_from(read: wire::Down) -> Result<Self, MessageError> {
        use wire::DownMessage as Message;
        Ok(match read.message.ok_or(MessageError::Kind)? {
            Message::EvidenceKept(kept) => Self::EvidenceKept(kept.up_to),
            Message::PolicySet(set) => {
                let number = from_one("policy_set.number", set.number)?;
                Self::PolicySet(PolicySet::new(number, set.signed)?)
            }
            Message::Appraisal(of) => Self::Appraisal {
                trust: of.trust().try_into()?,
                guest: of.guest.ok_or(missing("appraisal.guest"))?.try_into()?,
            },
            Message::Command(of) => Self::Command {
                number: from_one("command.number", of.number)?,
                kind: of.kind().try_into()?,
                guest: of.guest.ok_or(missing("command.guest"))?.try_into()?,
            },
        })
    }
}

impl From<&Down> for wire::DownMessage {
    fn from(down: &Down) -> Self {
        match down {
            Down::EvidenceKept(up_to) => Self::EvidenceKept(wire::EvidenceKept { up_to: *up_to }),
            Down::PolicySet(set) => Self::PolicySet(wire::PolicySet {
                number: set.number().get(),
                signed: set.signed().to_vec(),
            }),
            Down::Appraisal { guest, trust } => Self::Appraisal(wire::Appraisal {
                guest: Some((*guest).into()),
                trust: wire::Trust::from(*trust).into(),
            }),
            Down::Command {
                number,
                kind,
                guest,
            } => Self::Command(wire::Command {
                number: number.get(),
                kind: wire::CommandKind::from(*kind).into(),
                guest: Some((*guest).into()),
            }),
        }
    }
}
