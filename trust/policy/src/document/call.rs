//! System calls and their arguments' places.

mod table;

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize};

use super::shown::shown;
use table::NAMES;

/// A system call's number on x86-64 (arch/x86/entry/syscalls/syscall_64.tbl); written as that, or as its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(transparent)]
pub struct Call(pub u32);

/// There is none of that name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{0}` is no system call of x86-64 in Linux 6.1: write its name as in syscalls(2), or its number"
)]
pub struct NoCall(String);

impl Call {
    /// The one of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let at = NAMES.binary_search_by_key(&name, |(name, _)| name).ok()?;
        NAMES.get(at).map(|(_, number)| Self(*number))
    }

    /// Its name, where it is known.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        let (name, _) = NAMES.iter().find(|(_, number)| *number == self.0)?;
        Some(name)
    }
}

impl std::str::FromStr for Call {
    type Err = NoCall;

    fn from_str(text: &str) -> Result<Self, NoCall> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.then(|| text.parse().map(Self).ok()).flatten();
        number
            .or_else(|| Self::named(text))
            .ok_or_else(|| NoCall(shown(text)))
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => self.0.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Call {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Written;

        impl Visitor<'_> for Written {
            type Value = Call;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a system call's name, or its number")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Call, E> {
                let number = number.to_string();
                number.parse().map_err(E::custom)
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Call, E> {
                let number = number.to_string();
                number.parse().map_err(E::custom)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Call, E> {
                text.parse().map_err(E::custom)
            }
        }

        from.deserialize_any(Written)
    }
}

/// An argument's place, from 0 to 5.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Index(u8);

/// There is no such argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a system call has six arguments, from 0 to 5: there is no {0}")]
pub struct NoArgument(u8);

impl TryFrom<u8> for Index {
    type Error = NoArgument;

    fn try_from(index: u8) -> Result<Self, NoArgument> {
        if index < 6 {
            Ok(Self(index))
        } else {
            Err(NoArgument(index))
        }
    }
}

impl From<Index> for u8 {
    fn from(index: Index) -> Self {
        index.0
    }
}

impl Index {
    /// It in the arguments.
    #[must_use]
    pub fn of(self, arguments: &[u64; 6]) -> u64 {
        arguments
            .get(usize::from(self.0))
            .copied()
            .unwrap_or_default()
    }
}
