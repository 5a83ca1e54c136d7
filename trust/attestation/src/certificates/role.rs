//! What an operator may do, as the fleet says: the role is in the operator's certificate, never in a host's configuration.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::identity::IdentityError;

/// What an operator may do; each may what the ones before it may.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look: guests, their flows, the log of operations.
    Observer,
    /// Run and stop guests, sign their launch records, read their consoles.
    Runner,
    /// Everything.
    Administrator,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Self; 3] = [Self::Observer, Self::Runner, Self::Administrator];

    /// Its one spelling.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Observer => "observer",
            Self::Runner => "runner",
            Self::Administrator => "administrator",
        }
    }

    /// Whether it may what `least` may.
    #[must_use]
    pub fn includes(self, least: Self) -> bool {
        self >= least
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|role| role.name() == text);
        known.ok_or_else(|| {
            let shown = text.chars().take(63).collect();
            IdentityError(shown, "observer, runner or administrator")
        })
    }
}
