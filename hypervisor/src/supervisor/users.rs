//! The users that guests' processes run as: a range of ids, one a guest, so that a guest that escapes into its QEMU
//! is nobody whom another guest's processes belong to.

mod own;

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::qemu::process::User;
pub use own::{OwnUsers, OwnUsersError};

/// A range of user ids that no account of the host has, and the one group of them all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Users {
    first: u32,
    last: u32,
    gid: u32,
}

/// As in a configuration.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    first: u32,
    count: u32,
    gid: u32,
}

/// No range of users for guests.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// It holds none.
    #[error("`count` must be 1 or more: a guest needs a user")]
    Empty,
    /// It holds root, or its group is root's.
    #[error("neither the users nor the group of guests' processes may be 0, which is root")]
    Root,
    /// It ends beyond what user ids there are.
    #[error("`first` and `count` go beyond the highest user id, 4294967294")]
    Beyond,
}

impl Users {
    /// All user ids of the range.
    #[must_use]
    pub const fn uids(self) -> RangeInclusive<u32> {
        self.first..=self.last
    }

    /// Their group.
    #[must_use]
    pub const fn gid(self) -> u32 {
        self.gid
    }

    /// How many there are.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.last - self.first + 1
    }

    /// One of them, counted from 0.
    #[must_use]
    pub fn nth(self, number: u32) -> Option<User> {
        let uid = self.first.checked_add(number)?;
        (uid <= self.last).then_some(User { uid, gid: self.gid })
    }

    /// Whether some user is in both.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl TryFrom<Written> for Users {
    type Error = UsersError;

    fn try_from(written: Written) -> Result<Self, UsersError> {
        let Written { first, count, gid } = written;
        let beyond_first = count.checked_sub(1).ok_or(UsersError::Empty)?;
        let last = first.checked_add(beyond_first).ok_or(UsersError::Beyond)?;
        // The highest number is no user: it says "leave it" to setresuid(2).
        if last == u32::MAX {
            return Err(UsersError::Beyond);
        }
        if first == 0 || gid == 0 {
            return Err(UsersError::Root);
        }
        Ok(Self { first, last, gid })
    }
}

impl From<Users> for Written {
    fn from(users: Users) -> Self {
        Self {
            first: users.first,
            count: users.count(),
            gid: users.gid,
        }
    }
}

#[cfg(test)]
mod tests;
