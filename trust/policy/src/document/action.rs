//! What is done about a violation.

use serde::{Deserialize, Serialize};

/// What is done about what is denied, or is too much, or is not as it was: each does what those before it do, but for `kill`, which pauses nothing.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Action {
    /// It is told of.
    #[default]
    Log,
    /// The guest is cut from every network.
    Isolate,
    /// The guest is stopped, with its memory kept for who looks at it.
    Pause,
    /// The guest is ended.
    Kill,
}

impl Action {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Isolate => "isolate",
            Self::Pause => "pause",
            Self::Kill => "kill",
        }
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
