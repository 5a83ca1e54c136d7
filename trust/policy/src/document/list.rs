//! Lists: one that is written has something in it, since an empty one could be read as "any" and as "none".

use serde::de::{Deserialize, Deserializer, Error};

/// A list that may be left out.
pub(super) fn some<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Vec<T>>, D::Error> {
    one_at_least(from).map(Some)
}

/// A list that may not.
pub(crate) fn one_at_least<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    let list = Vec::deserialize(from)?;
    if list.is_empty() {
        return Err(D::Error::custom(
            "an empty list matches nothing; leave the field out to match everything",
        ));
    }
    Ok(list)
}
