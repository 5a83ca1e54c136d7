//! Which guests a policy is for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::labels;
use super::list::some;
use crate::guest::{Guest, Trust};

/// Guests: all that is given must hold.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Selection {
    /// Their VMs' UUIDs.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub vms: Option<Vec<Uuid>>,
    /// Their roles.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub roles: Option<Vec<String>>,
    /// Their labels: all of these.
    #[serde(
        default,
        deserialize_with = "labels::each_once",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// What they are taken for at present.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub trust: Option<Vec<Trust>>,
}

impl Selection {
    /// Whether a guest is one of them.
    #[must_use]
    pub fn includes(&self, guest: &Guest) -> bool {
        fn among<T: PartialEq>(list: Option<&Vec<T>>, one: &T) -> bool {
            list.is_none_or(|list| list.contains(one))
        }
        let mut labels = self.labels.iter();
        among(self.vms.as_ref(), &guest.vm)
            && among(self.roles.as_ref(), &guest.role)
            && labels.all(|(key, value)| guest.labels.get(key) == Some(value))
            && among(self.trust.as_ref(), &guest.trust)
    }
}
