//! Labels: a key that is written twice is a slip, which JSON's reader would pass over.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, Error, MapAccess, Visitor};

/// Labels, each key once.
pub(crate) fn each_once<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    struct Labels;

    impl<'de> Visitor<'de> for Labels {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("labels, as {env: production}")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut labels = BTreeMap::new();
            while let Some((key, value)) = map.next_entry::<String, String>()? {
                if labels.contains_key(&key) {
                    return Err(A::Error::custom(format_args!(
                        "label `{key}` is there twice"
                    )));
                }
                labels.insert(key, value);
            }
            Ok(labels)
        }
    }

    from.deserialize_map(Labels)
}
