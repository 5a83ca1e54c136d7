//! The guest that a request is of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What the signed launch record says of a guest, and what it is taken for at present.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Guest {
    /// Its VM.
    pub vm: Uuid,
    /// Its role.
    pub role: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What its memory was last found to be.
    pub trust: Trust,
}

/// What a guest is taken for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Trust {
    /// Nothing was appraised yet.
    None,
    /// What was appraised is as it is to be.
    Affirming,
    /// What was appraised is not.
    Contraindicated,
}
