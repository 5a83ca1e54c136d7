//! System calls and their arguments' places.

use serde::{Deserialize, Serialize};

/// A system call's number on x86-64 (arch/x86/entry/syscalls/syscall_64.tbl).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Call(pub u32);

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
