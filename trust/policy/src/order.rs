//! Which rule comes before which.

use std::cmp::Reverse;

use crate::decision::RuleName;
use crate::document::{Action, Defaults, Effect, Kind, Policy, Rule};
use crate::guest::Guest;

/// A rule of some policy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed<'p> {
    pub(crate) policy: &'p Policy,
    pub(crate) rule: &'p Rule,
    /// Its place in the policy.
    place: usize,
}

impl<'p> Placed<'p> {
    pub(crate) fn name(&self) -> RuleName<'p> {
        RuleName {
            policy: &self.policy.name,
            rule: &self.rule.name,
        }
    }

    /// What becomes of what it decides while nobody can.
    pub(crate) fn unavailable(&self) -> Effect {
        let stated = self.rule.on_unavailable;
        stated
            .unwrap_or(self.policy.on_unavailable)
            .min(self.rule.effect)
    }

    /// What is done about what it denies.
    pub(crate) fn violation(&self) -> Option<Action> {
        let stated = self.rule.on_violation.unwrap_or(self.policy.on_violation);
        (self.rule.effect == Effect::Deny).then_some(stated)
    }

    /// The first comes first.
    pub(crate) fn precedence(&self) -> impl Ord + use<'p> {
        let Self {
            policy,
            rule,
            place,
        } = *self;
        (
            Reverse(rule.priority),
            rule.effect == Effect::Allow,
            policy.name.as_str(),
            place,
        )
    }
}

/// The policies that select a guest.
pub(crate) fn selecting<'p>(policies: &'p [Policy], guest: &Guest) -> Vec<&'p Policy> {
    let selects = |policy: &&Policy| policy.select.includes(guest);
    policies.iter().filter(selects).collect()
}

/// Their rules of a kind, in no order.
pub(crate) fn of_kind<'p>(policies: &[&'p Policy], kind: Kind) -> Vec<Placed<'p>> {
    let mut rules = Vec::new();
    for &policy in policies {
        for (place, rule) in policy.rules.iter().enumerate() {
            if rule.what.kind() == kind {
                rules.push(Placed {
                    policy,
                    rule,
                    place,
                });
            }
        }
    }
    rules
}

/// What becomes of what no rule matches.
pub(crate) fn default(policies: &[&Policy], kind: Kind) -> Effect {
    let stated = |policy: &&Policy| Defaults::of(&policy.defaults, kind);
    let mut stated = policies.iter().filter_map(stated).peekable();
    let any = stated.peek().is_some();
    if any && stated.all(|effect| effect == Effect::Allow) {
        Effect::Allow
    } else {
        Effect::Deny
    }
}

/// What becomes of it while nobody can decide.
pub(crate) fn default_unavailable(policies: &[&Policy], kind: Kind) -> Effect {
    let stated = policies.iter().map(|policy| policy.on_unavailable).min();
    stated.unwrap_or_default().min(default(policies, kind))
}

/// What is done about what no rule matches, where it is denied: the most severe of what the policies say whose default denies it.
pub(crate) fn default_violation(policies: &[&Policy], kind: Kind) -> Option<Action> {
    let deny = |policy: &&&Policy| policy.defaults.of(kind) == Some(Effect::Deny);
    let stated = policies.iter().filter(deny);
    let stated = stated.map(|policy| policy.on_violation).max();
    (default(policies, kind) == Effect::Deny).then(|| stated.unwrap_or_default())
}
