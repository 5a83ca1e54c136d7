//! The one text form that a value has in JSON: modules for `#[serde(with = "…")]`.
//!
//! Each form is decoded strictly: what it writes is the only spelling that it reads.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Lower-case hexadecimal, for digests.
pub(crate) mod hex_bytes {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::measurement::Digest;

    pub(crate) fn serialize<S: Serializer>(digest: &Digest, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&digest.to_string())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(from)?;
        let digest = Digest(hex::decode(&text).map_err(D::Error::custom)?);
        if digest.to_string() == text {
            Ok(digest)
        } else {
            Err(D::Error::custom("a digest is written in lower case"))
        }
    }
}

/// A 64-bit address or offset, as `0x` and lower-case hexadecimal: JSON numbers are exact only up to 2^53.
pub(crate) mod hex_u64 {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{value:#x}"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        text.strip_prefix("0x")
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .filter(|value| format!("{value:#x}") == text)
            .ok_or_else(|| D::Error::custom("expected 0x and lower-case hexadecimal digits"))
    }
}

/// base64url without padding (RFC 4648 section 5), for `Vec<u8>` and byte arrays.
pub(crate) mod base64url {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        bytes: &impl AsRef<[u8]>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(&URL_SAFE_NO_PAD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D, T>(from: D) -> Result<T, D::Error>
    where
        D: Deserializer<'de>,
        T: TryFrom<Vec<u8>>,
    {
        // The engine refuses padding and non-zero trailing bits: one spelling.
        let bytes = URL_SAFE_NO_PAD
            .decode(String::deserialize(from)?)
            .map_err(D::Error::custom)?;
        T::try_from(bytes).map_err(|_| D::Error::custom("wrong number of bytes"))
    }
}

/// The same for the byte strings of CBOR messages.
pub(crate) mod base64url_bytes {
    use minicbor::bytes::ByteVec;
    use serde::Serializer;

    pub(crate) use super::base64url::deserialize;

    pub(crate) fn serialize<S: Serializer>(bytes: &ByteVec, to: S) -> Result<S::Ok, S::Error> {
        super::base64url::serialize(&bytes.as_slice(), to)
    }
}

/// Whatever has `Display` and `FromStr` that are each other's inverse.
pub(crate) mod display {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &impl Display, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(crate) fn deserialize<'de, D, T>(from: D) -> Result<T, D::Error>
    where
        D: Deserializer<'de>,
        T: FromStr<Err: Display>,
    {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// A list of such values, no longer than there are hash algorithms.
pub(crate) mod display_list {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error;
    use serde::{Deserializer, Serializer};

    use super::at_most;
    use crate::measurement::HashAlgorithm;

    pub(crate) fn serialize<S: Serializer, T: Display>(
        values: &[T],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(ToString::to_string))
    }

    pub(crate) fn deserialize<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
    where
        D: Deserializer<'de>,
        T: FromStr<Err: Display>,
    {
        let texts = at_most::<{ HashAlgorithm::ALL.len() }, D, String>(from)?;
        texts
            .iter()
            .map(|text| text.parse().map_err(D::Error::custom))
            .collect()
    }
}

/// A list that is bounded while it is read: an empty string takes three bytes of JSON, and eight times that in memory.
pub(crate) fn at_most<'de, const MOST: usize, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Bounded<const MOST: usize, T>(PhantomData<T>);

    impl<'de, const MOST: usize, T: Deserialize<'de>> Visitor<'de> for Bounded<MOST, T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MOST}")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut values = Vec::new();
            while let Some(value) = list.next_element()? {
                if values.len() >= MOST {
                    return Err(A::Error::invalid_length(MOST + 1, &self));
                }
                values.push(value);
            }
            Ok(values)
        }
    }

    from.deserialize_seq(Bounded::<MOST, T>(PhantomData))
}
