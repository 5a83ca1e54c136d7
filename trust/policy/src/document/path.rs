//! Paths of files.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::shown::shown;

/// Most bytes of a path (`PATH_MAX` of limits.h).
const MAX_PATH: usize = 4096;

/// Absolute paths: one, or with `/**` at its end all that lie below it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathPattern {
    /// Without what stands for those below; `/` is empty.
    path: String,
    below: bool,
}

/// It is none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{0}` is no absolute path in its shortest form: write /usr/bin/curl, or /usr/lib/** for all that lies below /usr/lib"
)]
pub struct NoPath(String);

impl PathPattern {
    /// The path, or that below which all are meant.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Whether all below it are meant, and not itself.
    pub(crate) const fn is_below(&self) -> bool {
        self.below
    }

    /// Whether it is meant.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        if !self.below {
            return path == self.path;
        }
        let rest = path.strip_prefix(self.path.as_str());
        rest.is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'))
    }
}

impl FromStr for PathPattern {
    type Err = NoPath;

    fn from_str(text: &str) -> Result<Self, NoPath> {
        let (path, below) = match text.strip_suffix("/**") {
            Some(path) => (path, true),
            None => (text, false),
        };
        let segments = match path.strip_prefix('/') {
            Some(segments) => segments,
            None if path.is_empty() && below => "none",
            None => return Err(NoPath(shown(text))),
        };
        let plain = |segment: &str| {
            !["", ".", ".."].contains(&segment) && !segment.contains(['*', '?', '[', '\0'])
        };
        if path.len() > MAX_PATH || !segments.split('/').all(plain) {
            return Err(NoPath(shown(text)));
        }
        Ok(Self {
            path: path.into(),
            below,
        })
    }
}

impl TryFrom<String> for PathPattern {
    type Error = NoPath;

    fn try_from(text: String) -> Result<Self, NoPath> {
        text.parse()
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        f.write_str(if self.below { "/**" } else { "" })
    }
}

impl From<PathPattern> for String {
    fn from(pattern: PathPattern) -> Self {
        pattern.to_string()
    }
}
