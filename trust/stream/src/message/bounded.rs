//! Parts of messages that have bounds, and keep them.

use std::num::NonZeroU64;
use std::sync::Arc;

use prost::bytes::Bytes;

use super::{GuestPolicy, MessageError};
use crate::limits::{MAX_DETAIL, MAX_EVIDENCE, MAX_GUESTS, MAX_POLICIES, MAX_SET};

/// A piece of signed evidence with its number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evidence {
    sequence: NonZeroU64,
    signed: Bytes,
}

impl Evidence {
    /// Evidence of 1 byte to [`MAX_EVIDENCE`].
    ///
    /// # Errors
    /// It is of another size.
    pub fn new(sequence: NonZeroU64, signed: Bytes) -> Result<Self, MessageError> {
        if signed.is_empty() || signed.len() > MAX_EVIDENCE {
            return Err(MessageError::Field {
                field: "evidence.signed",
                expected: "of 1 byte to 192 KiB",
            });
        }
        Ok(Self { sequence, signed })
    }

    /// Its number.
    #[must_use]
    pub const fn sequence(&self) -> NonZeroU64 {
        self.sequence
    }

    /// What was signed, with its signature.
    #[must_use]
    pub const fn signed(&self) -> &Bytes {
        &self.signed
    }
}

/// The signed policies that shall be in force. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicySet {
    number: NonZeroU64,
    signed: Arc<[Bytes]>,
}

impl PolicySet {
    /// A set of at most [`MAX_POLICIES`] policies, at most [`MAX_SET`] bytes altogether.
    ///
    /// # Errors
    /// There are more, or one is empty.
    pub fn new(number: NonZeroU64, signed: Vec<Bytes>) -> Result<Self, MessageError> {
        let bytes: usize = signed.iter().map(Bytes::len).sum();
        let fits = signed.len() <= MAX_POLICIES && bytes <= MAX_SET;
        if !fits || signed.iter().any(Bytes::is_empty) {
            return Err(MessageError::Field {
                field: "policy_set.signed",
                expected: "at most 256 policies of 4 MiB altogether, none of them empty",
            });
        }
        Ok(Self {
            number,
            signed: signed.into(),
        })
    }

    /// Its number.
    #[must_use]
    pub const fn number(&self) -> NonZeroU64 {
        self.number
    }

    /// The signed policies.
    #[must_use]
    pub fn signed(&self) -> &[Bytes] {
        &self.signed
    }

    /// How many bytes its policies have.
    #[must_use]
    pub fn size(&self) -> usize {
        self.signed.iter().map(Bytes::len).sum()
    }
}

/// What of a set is in force for which guests.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GuestPolicies(Vec<GuestPolicy>);

impl GuestPolicies {
    /// Of at most [`MAX_GUESTS`] guests.
    ///
    /// # Errors
    /// There are more.
    pub fn new(guests: Vec<GuestPolicy>) -> Result<Self, MessageError> {
        if guests.len() > MAX_GUESTS {
            return Err(MessageError::Field {
                field: "policy_in_force.guests",
                expected: "at most 1024",
            });
        }
        Ok(Self(guests))
    }

    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[GuestPolicy] {
        &self.0
    }
}

/// A text for people. It is shown to operators, and was written by whoever sent it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Detail(String);

impl Detail {
    /// A text, cut to at most [`MAX_DETAIL`] bytes; control characters become spaces.
    #[must_use]
    pub fn cut(text: &str) -> Self {
        let mut detail = String::new();
        for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
            if detail.len() + c.len_utf8() > MAX_DETAIL {
                break;
            }
            detail.push(c);
        }
        Self(detail)
    }

    /// A text that is one already.
    pub(super) fn new(text: String) -> Result<Self, MessageError> {
        if text.len() > MAX_DETAIL || text.chars().any(char::is_control) {
            return Err(MessageError::Field {
                field: "detail",
                expected: "at most 1024 bytes of printable text",
            });
        }
        Ok(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
