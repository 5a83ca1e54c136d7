//! How values are written in the JSON files of daemon and supervisors.

/// As its text.
pub(crate) mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<T: Display, S: Serializer>(
        value: &T,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(crate) fn deserialize<'d, T: FromStr<Err: Display>, D: Deserializer<'d>>(
        from: D,
    ) -> Result<T, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// A ticket as base64url.
pub(crate) mod ticket {
    use bartizan_local::admission::Ticket;
    use serde::{Deserializer, Serializer, de};

    use super::base64;

    pub(crate) fn serialize<S: Serializer>(ticket: &Ticket, to: S) -> Result<S::Ok, S::Error> {
        base64::serialize(ticket.as_bytes(), to)
    }

    pub(crate) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Ticket, D::Error> {
        let bytes = base64::deserialize(from)?;
        let bytes = bytes.try_into();
        let bytes = bytes.map_err(|_| de::Error::custom("a ticket has 32 bytes"))?;
        Ok(Ticket::new(bytes))
    }
}

/// Bytes as base64url.
pub(crate) mod base64 {
    use ::base64::Engine;
    use ::base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&B64.encode(bytes))
    }

    pub(crate) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Vec<u8>, D::Error> {
        B64.decode(String::deserialize(from)?)
            .map_err(de::Error::custom)
    }
}
