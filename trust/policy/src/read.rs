//! From text to a policy.

use std::collections::HashSet;

use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};

use crate::document::{MAX_VALUES, Policy};

/// Most bytes of a policy.
pub const MAX_BYTES: usize = 4 << 20;

/// How a policy is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// YAML 1.2, of which anchors, merge keys, tags of one's own and several documents are refused.
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
    /// It says too much.
    #[error("a policy has {MAX_VALUES} rules and values in lists at most, this one has {0}")]
    TooManyValues(usize),
    /// It is not written as one; says line and column.
    #[error("{0}")]
    Yaml(#[source] Box<serde_saphyr::Error>),
    /// The same.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// Two of its parts have one name.
    #[error(
        "two rules, thresholds or integrity sets are called `{0}`: violations name theirs, so give each another name"
    )]
    NameTwice(String),
    /// A rule names hosts, and nobody is trusted to say which those are.
    #[error("rule `{0}` names hosts: say in `resolvers` whose DNS answers are believed")]
    NoResolvers(String),
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
        Format::Yaml => serde_saphyr::from_str_with_options(text, yaml())
            .map_err(|error| ReadError::Yaml(Box::new(error)))?,
        Format::Json => serde_json::from_str(text)?,
    };
    if policy.version != 1 {
        return Err(ReadError::Version(policy.version));
    }
    let values = policy.values();
    if values > MAX_VALUES {
        return Err(ReadError::TooManyValues(values));
    }
    let rules = policy.rules.iter().map(|rule| &rule.name);
    let thresholds = policy.thresholds.iter().map(|threshold| &threshold.name);
    let sets = policy.integrity.iter().map(|set| &set.name);
    let mut names = HashSet::new();
    let mut all = rules.chain(thresholds).chain(sets);
    if let Some(twice) = all.find(|name| !names.insert(*name)) {
        return Err(ReadError::NameTwice(twice.clone()));
    }
    let mut rules = policy.rules.iter();
    match rules.find(|rule| policy.resolvers.is_none() && rule.names_hosts()) {
        Some(rule) => Err(ReadError::NoResolvers(rule.name.clone())),
        None => Ok(policy),
    }
}

/// What is written once has one meaning: nothing is taken from elsewhere in the text, or from another.
fn yaml() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            // A node takes some four bytes of text.
            max_events: MAX_BYTES,
            max_nodes: MAX_BYTES / 4,
            max_aliases: 0,
            max_anchors: 0,
            max_depth: 16,
            flow_nesting_limit: 16,
            max_documents: 1,
            max_inclusion_depth: 0,
            max_merge_keys: 0,
            max_total_scalar_bytes: MAX_BYTES,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        reject_tagged_field_names: true,
    }
}
