//! From text to a policy.

use crate::document::Policy;

/// Most bytes of a policy.
pub const MAX_BYTES: usize = 4 << 20;

/// How a policy is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// YAML 1.2, of which anchors, tags and several documents are refused.
    Yaml,
    /// JSON (RFC 8259).
    Json,
}

/// It is no policy.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is too long.
    #[error("a policy has {MAX_BYTES} bytes at most, this one has {0}")]
    TooLong(usize),
    /// It is not written as one; says line and column.
    #[error("{0}")]
    Yaml(#[source] Box<serde_saphyr::Error>),
    /// The same.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// Two rules have one name.
    #[error("two rules are called `{0}`: decisions name their rule, so give each another name")]
    NameTwice(String),
    /// The language's version.
    #[error("it is written in version {0} of the language; this one is 1")]
    Version(u32),
}

/// Reads a policy.
pub fn read(text: &str, format: Format) -> Result<Policy, ReadError> {
    if text.len() > MAX_BYTES {
        return Err(ReadError::TooLong(text.len()));
    }
    let policy: Policy = match format {
        Format::Yaml => {
            serde_saphyr::from_str(text).map_err(|error| ReadError::Yaml(Box::new(error)))?
        }
        Format::Json => serde_json::from_str(text)?,
    };
    if policy.version != 1 {
        return Err(ReadError::Version(policy.version));
    }
    let mut names = std::collections::HashSet::new();
    match policy.rules.iter().find(|rule| !names.insert(&rule.name)) {
        Some(twice) => Err(ReadError::NameTwice(twice.name.clone())),
        None => Ok(policy),
    }
}
