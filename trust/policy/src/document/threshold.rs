//! How much of something there may be in a time.

use serde::{Deserialize, Serialize};

use super::{Action, Direction, Kind};

/// A violation, once there is more than `most` of something in any span of `within_s` seconds.
///
/// It decides no request: whoever watches a guest counts, and acts. What is counted is what was seen, allowed or not. After a violation it counts anew.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct Threshold {
    /// Its name, one in its policy.
    pub name: String,
    /// What is counted.
    pub count: Count,
    /// Of flows and what they have: who begins them; left out, either.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Of denials: the kind of operation; left out, any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The span, in seconds, from 1 to 86,400.
    pub within_s: u32,
    /// How much there may be.
    pub most: u64,
    /// What is done about more; left out, as the policy says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_violation: Option<Action>,
}

impl Threshold {
    /// The kinds of operation of which it counts something.
    #[must_use]
    pub fn kinds(&self) -> Vec<Kind> {
        match (self.count, self.kind) {
            (Count::Denials, Some(kind)) => vec![kind],
            (Count::Denials, None) => Kind::ALL.to_vec(),
            (Count::Programs, _) => vec![Kind::Exec],
            _ => vec![Kind::Network],
        }
    }
}

/// What a threshold counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Count {
    /// Flows that begin.
    Flows,
    /// Different addresses of the other end among them.
    Peers,
    /// Different pairs of such an address and a port: a scan has many.
    Ports,
    /// Bytes that the guest sends (`egress`) or gets (`ingress`), whoever has begun the flow.
    Bytes,
    /// Operations that were denied by rules that enforce, or by default.
    Denials,
    /// Programs that are executed.
    Programs,
}

impl Count {
    /// Whether it is of flows.
    #[must_use]
    pub const fn is_of_flows(self) -> bool {
        matches!(self, Self::Flows | Self::Peers | Self::Ports | Self::Bytes)
    }
}

/// It counts what there is not.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum NoThreshold {
    /// A direction where there is none.
    #[error(
        "threshold `{0}` counts nothing that has a direction: `direction` is for flows, peers, ports and bytes"
    )]
    Direction(String),
    /// A kind where there is none.
    #[error("threshold `{0}` counts no denials: `kind` is for those")]
    Kind(String),
    /// A span that is none.
    #[error("threshold `{0}`: `within_s` is from 1 to 86400 seconds")]
    Within(String),
}

/// As it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Written {
    /// Its name, one in its policy.
    #[serde(deserialize_with = "super::name::rule")]
    #[cfg_attr(test, schemars(regex(pattern = "^[A-Za-z0-9._-]{1,128}$")))]
    name: String,
    /// What is counted.
    count: Count,
    /// Of flows and what they have: who begins them; left out, either.
    #[serde(default)]
    direction: Option<Direction>,
    /// Of denials: the kind of operation; left out, any.
    #[serde(default)]
    kind: Option<Kind>,
    /// The span, in seconds.
    #[cfg_attr(test, schemars(range(min = 1, max = 86_400)))]
    within_s: u32,
    /// How much there may be in it.
    most: u64,
    /// What is done about more; left out, as the policy says.
    #[serde(default)]
    on_violation: Option<Action>,
}

impl TryFrom<Written> for Threshold {
    type Error = NoThreshold;

    fn try_from(written: Written) -> Result<Self, NoThreshold> {
        let Written {
            name,
            count,
            direction,
            kind,
            within_s,
            most,
            on_violation,
        } = written;
        if direction.is_some() && !count.is_of_flows() {
            return Err(NoThreshold::Direction(name));
        }
        if kind.is_some() && count != Count::Denials {
            return Err(NoThreshold::Kind(name));
        }
        if !(1..=86_400).contains(&within_s) {
            return Err(NoThreshold::Within(name));
        }
        Ok(Self {
            name,
            count,
            direction,
            kind,
            within_s,
            most,
            on_violation,
        })
    }
}
