//! Parts of messages, from and to what protobuf carries.

use std::num::NonZeroU64;

use prost::bytes::Bytes;

use super::{Guest, GuestPolicy, HeldSet, Hello, MessageError, Source, Span};
use crate::wire;

impl TryFrom<wire::Hello> for Hello {
    type Error = MessageError;

    fn try_from(read: wire::Hello) -> Result<Self, MessageError> {
        let oldest = from_one("hello.oldest", read.oldest)?;
        let next = from_one("hello.next", read.next)?;
        let span = Span::new(oldest, next).ok_or(MessageError::Field {
            field: "hello.oldest",
            expected: "at most `hello.next`",
        })?;
        Ok(Self {
            source: Source(array("hello.source", "16 bytes", &read.source)?),
            span,
            in_force: read.in_force.map(TryInto::try_into).transpose()?,
            last_command: read.last_command,
        })
    }
}

impl From<Hello> for wire::Hello {
    fn from(hello: Hello) -> Self {
        Self {
            source: Bytes::copy_from_slice(&hello.source.0),
            oldest: hello.span.oldest().get(),
            next: hello.span.next().get(),
            in_force: hello.in_force.map(Into::into),
            last_command: hello.last_command,
        }
    }
}

impl TryFrom<wire::HeldSet> for HeldSet {
    type Error = MessageError;

    fn try_from(read: wire::HeldSet) -> Result<Self, MessageError> {
        Ok(Self {
            number: from_one("set.number", read.number)?,
            digest: array("set.digest", "48 bytes", &read.digest)?,
        })
    }
}

impl From<HeldSet> for wire::HeldSet {
    fn from(set: HeldSet) -> Self {
        Self {
            number: set.number.get(),
            digest: Bytes::copy_from_slice(&set.digest),
        }
    }
}

impl TryFrom<wire::GuestPolicy> for GuestPolicy {
    type Error = MessageError;

    fn try_from(read: wire::GuestPolicy) -> Result<Self, MessageError> {
        Ok(Self {
            guest: read.guest.ok_or(missing("guests.guest"))?.try_into()?,
            digest: array("guests.digest", "48 bytes", &read.digest)?,
        })
    }
}

impl From<GuestPolicy> for wire::GuestPolicy {
    fn from(of: GuestPolicy) -> Self {
        Self {
            guest: Some(of.guest.into()),
            digest: Bytes::copy_from_slice(&of.digest),
        }
    }
}

impl TryFrom<wire::Guest> for Guest {
    type Error = MessageError;

    fn try_from(read: wire::Guest) -> Result<Self, MessageError> {
        Ok(Self {
            vm: array("guest.vm", "16 bytes", &read.vm)?,
            boot: read.boot,
        })
    }
}

impl From<Guest> for wire::Guest {
    fn from(guest: Guest) -> Self {
        Self {
            vm: Bytes::copy_from_slice(&guest.vm),
            boot: guest.boot,
        }
    }
}

pub(super) fn from_one(field: &'static str, number: u64) -> Result<NonZeroU64, MessageError> {
    NonZeroU64::new(number).ok_or(MessageError::Field {
        field,
        expected: "1 or more",
    })
}

pub(super) const fn missing(field: &'static str) -> MessageError {
    MessageError::Field {
        field,
        expected: "there",
    }
}

fn array<const N: usize>(
    field: &'static str,
    expected: &'static str,
    bytes: &[u8],
) -> Result<[u8; N], MessageError> {
    bytes
        .try_into()
        .map_err(|_| MessageError::Field { field, expected })
}
