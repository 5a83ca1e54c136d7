//! Which policies an author may write.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::document::labels::each_once;
use crate::document::list::one_at_least;
use crate::document::name::{NoName, is_policy_name};
use crate::document::{Action, Kind, Policy};

/// What the policies of an author may be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// Their names.
    #[serde(deserialize_with = "one_at_least")]
    pub policies: Vec<PolicyNames>,
    /// The kinds of their rules and defaults.
    #[serde(deserialize_with = "one_at_least")]
    pub kinds: Vec<Kind>,
    /// The guests that they may be for; left out, any.
    #[serde(default)]
    pub guests: ScopedGuests,
    /// The highest priority of a rule.
    pub highest_priority: i32,
    /// The most severe of what their violations may lead to; left out, that they are told of.
    #[serde(default)]
    pub most_severe: Action,
}

/// Guests that policies must demand when they select.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopedGuests {
    /// A policy demands some of these roles and no other; empty, it may demand any or none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// A policy demands these labels, perhaps further ones.
    #[serde(
        default,
        deserialize_with = "each_once",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
}

/// Names of policies: `web`, all below `team-a/*`, or all `*`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PolicyNames(String);

/// A policy is not one that its author may write.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OutsideScope {
    /// By its name.
    #[error("its name is none of theirs")]
    Name,
    /// By a rule's kind.
    #[error("rule `{rule}` is about `{kind}`")]
    Rule {
        /// Which rule.
        rule: String,
        /// Of which kind.
        kind: Kind,
    },
    /// By a default of a kind.
    #[error("it has a default for `{0}`")]
    Default(Kind),
    /// By what a threshold counts, or an integrity set's files.
    #[error("`{name}` watches what is about `{kind}`")]
    Watched {
        /// Which threshold or integrity set.
        name: String,
        /// Of which kind.
        kind: Kind,
    },
    /// By what is done about violations.
    #[error("its violations lead to `{0}`, theirs to `{1}` at most")]
    Action(Action, Action),
    /// By a rule's priority.
    #[error("rule `{rule}` has priority {priority}, theirs have {highest} at most")]
    Priority {
        /// Which rule.
        rule: String,
        /// Its priority.
        priority: i32,
        /// The highest there may be.
        highest: i32,
    },
    /// By the roles of guests.
    #[error("it selects guests of other roles than {}: demand some of them", .0.join(", "))]
    Roles(Vec<String>),
    /// By the labels of guests.
    #[error("it selects guests without the label `{key}: {value}`: demand it")]
    Label {
        /// The label's key.
        key: String,
        /// Its value.
        value: String,
    },
}

impl Scope {
    /// Whether a policy is within it, and if not why.
    pub fn holds(&self, policy: &Policy) -> Result<(), OutsideScope> {
        if !self
            .policies
            .iter()
            .any(|names| names.include(&policy.name))
        {
            return Err(OutsideScope::Name);
        }
        let foreign = |kind: &Kind| !self.kinds.contains(kind);
        for rule in &policy.rules {
            let (kind, priority) = (rule.what.kind(), rule.priority);
            let name = || rule.name.clone();
            if foreign(&kind) {
                return Err(OutsideScope::Rule { rule: name(), kind });
            }
            if priority > self.highest_priority {
                let highest = self.highest_priority;
                return Err(OutsideScope::Priority {
                    rule: name(),
                    priority,
                    highest,
                });
            }
        }
        let mut stated = Kind::ALL.into_iter();
        let stated = stated.find(|kind| foreign(kind) && policy.defaults.of(*kind).is_some());
        if let Some(kind) = stated {
            return Err(OutsideScope::Default(kind));
        }
        self.holds_watched(policy)?;
        let severest = severest(policy);
        if severest > self.most_severe {
            return Err(OutsideScope::Action(severest, self.most_severe));
        }
        self.guests.hold(policy)
    }

    fn holds_watched(&self, policy: &Policy) -> Result<(), OutsideScope> {
        let thresholds = policy.thresholds.iter();
        let thresholds = thresholds.map(|one| (&one.name, one.kinds()));
        let sets = policy.integrity.iter();
        let sets = sets.map(|set| (&set.name, vec![Kind::File]));
        for (name, kinds) in thresholds.chain(sets) {
            if let Some(kind) = kinds.into_iter().find(|kind| !self.kinds.contains(kind)) {
                let name = name.clone();
                return Err(OutsideScope::Watched { name, kind });
            }
        }
        Ok(())
    }
}

fn severest(policy: &Policy) -> Action {
    let rules = policy.rules.iter().filter_map(|rule| rule.on_violation);
    let thresholds = policy.thresholds.iter();
    let thresholds = thresholds.filter_map(|threshold| threshold.on_violation);
    let sets = policy.integrity.iter().filter_map(|set| set.on_violation);
    let stated = rules.chain(thresholds).chain(sets).max();
    stated.unwrap_or_default().max(policy.on_violation)
}

impl ScopedGuests {
    fn hold(&self, policy: &Policy) -> Result<(), OutsideScope> {
        let demanded = policy.select.roles.as_ref();
        let within = |roles: &Vec<String>| roles.iter().all(|role| self.roles.contains(role));
        if !self.roles.is_empty() && !demanded.is_some_and(within) {
            return Err(OutsideScope::Roles(self.roles.clone()));
        }
        let mut labels = self.labels.iter();
        match labels.find(|(key, value)| policy.select.labels.get(*key) != Some(*value)) {
            Some((key, value)) => Err(OutsideScope::Label {
                key: key.clone(),
                value: value.clone(),
            }),
            None => Ok(()),
        }
    }
}

impl PolicyNames {
    /// Whether a name is one of them.
    #[must_use]
    pub fn include(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            // What is left ends in a slash: `team-a/*` has nothing of `team-ab`.
            Some(prefix) => name.len() > prefix.len() && name.starts_with(prefix),
            None => name == self.0,
        }
    }
}

impl FromStr for PolicyNames {
    type Err = NoName;

    fn from_str(text: &str) -> Result<Self, NoName> {
        let named = text.strip_suffix("/*").unwrap_or(text);
        if text == "*" || is_policy_name(named) {
            Ok(Self(text.into()))
        } else {
            Err(NoName(text.into()))
        }
    }
}

impl TryFrom<String> for PolicyNames {
    type Error = NoName;

    fn try_from(text: String) -> Result<Self, NoName> {
        text.parse()
    }
}

impl From<PolicyNames> for String {
    fn from(names: PolicyNames) -> Self {
        names.0
    }
}

impl fmt::Display for PolicyNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
