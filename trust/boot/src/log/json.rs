//! The log in JSON (CEL 1.0 section 4.3): numbers of registries by their names.

use serde_json::Value;

use super::record::{EV_EVENT_TAG, PCCLIENT_STD, Record, SHA384};

pub(super) fn write(records: &[Record]) -> Value {
    // INVARIANT: records are maps with text keys, which is all that JSON asks for.
    serde_json::to_value(records).unwrap_or_default()
}

pub(super) fn read(text: &str) -> Result<Vec<Record>, serde_json::Error> {
    serde_json::from_str(text)
}

/// A number that has one name here, and is refused by any other.
macro_rules! named {
    ($module:ident, $kind:ty, $number:expr, $name:literal) => {
        pub(super) mod $module {
            use serde::de::Error as _;
            use serde::ser::Error as _;
            use serde::{Deserialize, Deserializer, Serializer};

            pub(in super::super) fn serialize<S: Serializer>(
                number: &$kind,
                to: S,
            ) -> Result<S::Ok, S::Error> {
                if *number == $number {
                    to.serialize_str($name)
                } else {
                    Err(S::Error::custom(concat!("expected ", $name)))
                }
            }

            pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
                from: D,
            ) -> Result<$kind, D::Error> {
                match String::deserialize(from)?.as_str() {
                    $name => Ok($number),
                    _ => Err(D::Error::custom(concat!("expected ", $name))),
                }
            }
        }
    };
}

named!(content_type, u16, super::PCCLIENT_STD, "pcclient_std");
named!(algorithm, u16, super::SHA384, "sha384");
named!(event_type, u32, super::EV_EVENT_TAG, "EV_EVENT_TAG");

/// Bytes as lower-case hexadecimal.
pub(super) mod hexadecimal {
    use minicbor::bytes::ByteVec;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        bytes: &ByteVec,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(bytes.as_slice()))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<ByteVec, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = hex::decode(&text).map_err(D::Error::custom)?;
        if hex::encode(&bytes) == text {
            Ok(bytes.into())
        } else {
            Err(D::Error::custom("expected lower-case hexadecimal"))
        }
    }
}
