//! Names of hosts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::shown::shown;

/// A host's name (RFC 1123 section 2.1), or with `*.` before it all below it. Upper case is as lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hosts {
    name: String,
    below: bool,
}

/// It is none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{0}` is no host's name: write db.example.com, or *.example.com for all below example.com"
)]
pub struct NoHosts(String);

impl Hosts {
    /// The name, or that below which all are meant; in lower case.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether all below it are meant, and not itself.
    pub(crate) const fn is_below(&self) -> bool {
        self.below
    }

    /// Whether a name in lower case is meant.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        if !self.below {
            return name == self.name;
        }
        let rest = name.strip_suffix(self.name.as_str());
        rest.is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
    }
}

impl FromStr for Hosts {
    type Err = NoHosts;

    fn from_str(text: &str) -> Result<Self, NoHosts> {
        let (name, below) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err(NoHosts(shown(text)));
        }
        Ok(Self {
            name: name.to_ascii_lowercase(),
            below,
        })
    }
}

impl TryFrom<String> for Hosts {
    type Error = NoHosts;

    fn try_from(text: String) -> Result<Self, NoHosts> {
        text.parse()
    }
}

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.below { "*." } else { "" })?;
        f.write_str(&self.name)
    }
}

impl From<Hosts> for String {
    fn from(hosts: Hosts) -> Self {
        hosts.to_string()
    }
}
