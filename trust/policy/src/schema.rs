//! The language's JSON Schema: made from its types in tests, so that no product links what makes it.

/// The JSON Schema (draft 2020-12) of policies, in YAML and JSON. What it cannot say is said when a policy is read.
pub const SCHEMA: &str = include_str!("../policy.schema.json");

#[cfg(test)]
mod tests;
#[cfg(test)]
mod written;
