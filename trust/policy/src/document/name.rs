//! Names of policies and rules, which decisions and logs show as `POLICY/RULE`.

use serde::de::{Deserialize, Deserializer, Error};

/// Most bytes of one.
pub const MAX_NAME: usize = 128;

/// It is none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{shown}` is no name: write letters, digits, `.`, `_` and `-`, {MAX_NAME} at most; a policy's may have parts, as team-a/web",
    shown = .0.chars().take(MAX_NAME).collect::<String>()
)]
pub struct NoName(pub(crate) String);

fn is_part(part: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !part.is_empty() && part.len() <= MAX_NAME && part.bytes().all(plain)
}

/// Whether it is a policy's name.
pub(crate) fn is_policy_name(name: &str) -> bool {
    name.len() <= MAX_NAME && name.split('/').all(is_part)
}

/// A policy's.
pub(super) fn policy<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    named(from, is_policy_name)
}

/// A rule's.
pub(super) fn rule<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    named(from, is_part)
}

fn named<'de, D: Deserializer<'de>>(from: D, is: fn(&str) -> bool) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    if is(&name) {
        Ok(name)
    } else {
        Err(D::Error::custom(NoName(name)))
    }
}
