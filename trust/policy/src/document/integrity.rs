//! Files that must be as they were.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::list::one_at_least;
use super::{Action, Digest, PathPattern};

/// A violation, once one of the files is not what it was.
///
/// It decides no request: whoever watches a guest reads the files from outside, and acts. A file that is not there, or cannot be read, is not what
/// it was.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct IntegritySet {
    /// Its name, one in its policy.
    #[serde(deserialize_with = "super::name::rule")]
    #[cfg_attr(test, schemars(regex(pattern = "^[A-Za-z0-9._-]{1,128}$")))]
    pub name: String,
    /// The files.
    #[serde(deserialize_with = "one_at_least")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub files: Vec<IntegrityFile>,
    /// What is done about another; left out, as the policy says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_violation: Option<Action>,
}

/// A file, and what it may be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct IntegrityFile {
    /// Its path.
    #[serde(deserialize_with = "one_file")]
    pub path: PathPattern,
    /// The SHA-256 of what it may be: one of these.
    #[serde(deserialize_with = "one_at_least")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub sha256: Vec<Digest>,
}

fn one_file<'de, D: Deserializer<'de>>(from: D) -> Result<PathPattern, D::Error> {
    let path = PathPattern::deserialize(from)?;
    if path.is_below() {
        let message =
            format_args!("`{path}` means many files, each of which has another digest: name one");
        return Err(D::Error::custom(message));
    }
    Ok(path)
}
