//! Bytes in JSON: base64url without padding (RFC 4648 section 5).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

/// Bytes, base64url without padding in JSON. Anything else, padding and stray bits included, is refused.
#[derive(Clone, PartialEq, Eq, Debug, ToSchema)]
#[schema(value_type = String, pattern = "^[A-Za-z0-9_-]*$", example = "3q2-7w")]
pub struct Binary(pub Vec<u8>);

impl Binary {
    /// The bytes as base64url text.
    #[must_use]
    pub fn encode(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The bytes that `text` stands for; `None` if it is not base64url without padding.
    #[must_use]
    pub fn decode(text: &str) -> Option<Vec<u8>> {
        URL_SAFE_NO_PAD.decode(text).ok()
    }
}

impl From<Vec<u8>> for Binary {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Serialize for Binary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Self::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

/// Decodes the text where it stands, since a report can be megabytes: a `String` would be one more copy of it.
struct Text;

impl Visitor<'_> for Text {
    type Value = Binary;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("base64url without padding (RFC 4648 section 5)")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let wrong = || E::invalid_value(Unexpected::Other("other text"), &self);
        Binary::decode(text).map(Binary).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::Binary;

    #[test]
    fn only_the_one_spelling_is_accepted() {
        assert_eq!(Binary::decode("3q2-7w"), Some(vec![0xde, 0xad, 0xbe, 0xef]));
        for wrong in ["3q2-7w==", "3q2+7w", "3q2-7x", "3q2-7", " 3q2-7w"] {
            assert_eq!(Binary::decode(wrong), None, "{wrong}");
        }
    }
}
