//! The policies of one guest, ready to decide.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use crate::decision::{Decided, Decision, RuleName};
use crate::document::{Action, Effect, Kind, Policy, Rule};
use crate::guest::Guest;
use crate::index::{Budget, Depended, NoTable, Outcome, Table};
use crate::order::{default, default_unavailable, default_violation, of_kind, selecting};
use crate::request::Request;

/// Most rules of a kind.
const MAX_RULES: usize = 1 << 16;
/// What the allocator takes for each name beside it, in bytes; and what a rule's place in two sets of bits does.
const ALLOCATED: usize = 24;
/// What the index of a guest's policies may take: 32 MiB, as much again while it is made, and a second.
const BUDGET: Budget = Budget {
    bytes: 32 << 20,
    places: 1 << 26,
    values: 1 << 17,
};

/// The policies that select a guest, indexed.
#[derive(Debug)]
pub struct Compiled {
    exec: Rules,
    file: Rules,
    network: Rules,
    syscall: Rules,
    resolvers: Box<[IpAddr]>,
    /// Whether a policy selects the guest.
    any: bool,
}

/// What there is for indexes: those of several guests may share it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// Of memory, in bytes.
    pub bytes: usize,
    /// Of time, in rules that are looked at while they are made.
    pub places: usize,
}

/// Hosts' names to which all rules of a guest are alike: of one class, one name is as good as another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NameClass(u32);

/// They cannot be held together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TooLarge {
    /// Too many rules.
    #[error("a guest's policies have {MAX_RULES} rules of a kind at most, these have {0}")]
    Rules(usize),
    /// Their rules look at too many fields.
    #[error("a guest's policies look at too many labels of peers, or masks of arguments")]
    Fields,
    /// Their rules list too many values.
    #[error(
        "a guest's policies list {} values at most: use networks and ranges instead of their members",
        BUDGET.values
    )]
    Values,
    /// Their index would take too much memory or time.
    #[error(
        "the index of a guest's policies, or those of all guests of its host together, would take more than {} MiB, or too long: use fewer ranges that overlap",
        BUDGET.bytes >> 20
    )]
    Index,
}

impl From<NoTable> for TooLarge {
    fn from(none: NoTable) -> Self {
        match none {
            NoTable::Fields => Self::Fields,
            NoTable::Values => Self::Values,
            NoTable::OverBudget => Self::Index,
        }
    }
}

#[derive(Debug)]
struct Rules {
    kind: Kind,
    table: Table,
    /// In their order.
    named: Box<[Named]>,
    default: Effect,
    default_unavailable: Effect,
    default_violation: Option<Action>,
}

#[derive(Debug)]
struct Named {
    /// Of all rules of a policy the same.
    policy: Arc<str>,
    rule: Box<str>,
    effect: Effect,
    unavailable: Effect,
    violation: Option<Action>,
}

impl Named {
    fn name(&self) -> RuleName<'_> {
        RuleName {
            policy: &self.policy,
            rule: &self.rule,
        }
    }
}

impl Room {
    /// What the index of one guest's policies may take.
    pub const ALL: Self = Self {
        bytes: BUDGET.bytes,
        places: BUDGET.places,
    };

    /// What is left of it without this; nothing where there is less.
    #[must_use]
    pub const fn without(self, taken: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(taken.bytes),
            places: self.places.saturating_sub(taken.places),
        }
    }
}

impl Compiled {
    /// Compiles those of the policies that select a guest.
    pub fn of(policies: &[Policy], guest: &Guest) -> Result<Self, TooLarge> {
        Self::of_within(&selecting(policies, guest), &mut Room::ALL.clone())
    }

    /// Compiles policies, all of which select a guest, where so much is left, of which it takes. Who failed has taken time, too.
    pub fn of_within(policies: &[&Policy], left: &mut Room) -> Result<Self, TooLarge> {
        let mut budget = Budget {
            bytes: left.bytes,
            places: left.places,
            ..BUDGET
        };
        let compiled = Self::of_selecting(policies, &mut budget);
        left.places = budget.places;
        if compiled.is_ok() {
            left.bytes = budget.bytes;
        }
        compiled
    }

    fn of_selecting(policies: &[&Policy], budget: &mut Budget) -> Result<Self, TooLarge> {
        let mut rules = |kind| Rules::of(policies, kind, budget);
        let (exec, file) = (rules(Kind::Exec)?, rules(Kind::File)?);
        let (network, syscall) = (rules(Kind::Network)?, rules(Kind::Syscall)?);
        Ok(Self {
            exec,
            file,
            network,
            syscall,
            resolvers: resolvers(policies),
            any: !policies.is_empty(),
        })
    }

    /// Decides a request of that guest.
    #[must_use]
    pub fn decide(&self, request: &Request<'_>) -> Decision<'_> {
        let kind = request.operation.kind();
        if !self.any {
            return Decision::NO_POLICY;
        }
        let rules = self.rules(kind);
        rules.decision(rules.table.look(request))
    }

    /// The same, with the fields that the decision depended on: it is that of every request that has the same in them.
    #[must_use]
    pub fn decide_widely(&self, request: &Request<'_>) -> (Decision<'_>, Vec<Depended>) {
        if !self.any {
            return (self.decide(request), Vec::new());
        }
        let rules = self.rules(request.operation.kind());
        let outcome = rules.table.look(request);
        (
            rules.decision(outcome),
            rules.table.depended(request, outcome),
        )
    }

    /// Which rules are about a host of this name, in lower case: none where none is, so that it does not matter who has it.
    #[must_use]
    pub fn name_class(&self, name: &str) -> Option<NameClass> {
        self.network.table.name(name).map(NameClass)
    }

    /// The DNS servers whose answers say which names an address has: those that each policy trusts whose rules name hosts.
    #[must_use]
    pub fn resolvers(&self) -> &[IpAddr] {
        &self.resolvers
    }

    const fn rules(&self, kind: Kind) -> &Rules {
        match kind {
            Kind::Exec => &self.exec,
            Kind::File => &self.file,
            Kind::Network => &self.network,
            Kind::Syscall => &self.syscall,
        }
    }
}

impl Rules {
    fn of(policies: &[&Policy], kind: Kind, budget: &mut Budget) -> Result<Self, TooLarge> {
        let mut placed = of_kind(policies, kind);
        if placed.len() > MAX_RULES {
            return Err(TooLarge::Rules(placed.len()));
        }
        // Who is refused has been looked at, too.
        budget.look(1 + placed.len()).map_err(|_| TooLarge::Index)?;
        for placed in &placed {
            let bytes = size_of::<Named>() + placed.name().rule.len() + ALLOCATED;
            budget.take(bytes).map_err(|_| TooLarge::Index)?;
        }
        placed.sort_by_key(|placed| placed.precedence());
        let rules: Vec<_> = placed.iter().map(|placed| placed.rule).collect();
        let names = policies.iter().map(|policy| policy.name.as_str());
        let names: HashMap<&str, Arc<str>> = names.map(|name| (name, name.into())).collect();
        let shared = |name: &str| names.get(name).map_or_else(|| name.into(), Arc::clone);
        let named = placed.iter().map(|placed| Named {
            policy: shared(placed.name().policy),
            rule: placed.name().rule.into(),
            effect: placed.rule.effect,
            unavailable: placed.unavailable(),
            violation: placed.violation(),
        });
        Ok(Self {
            kind,
            table: Table::new(&rules, budget)?,
            named: named.collect(),
            default: default(policies, kind),
            default_unavailable: default_unavailable(policies, kind),
            default_violation: default_violation(policies, kind),
        })
    }

    fn decision(&self, outcome: Outcome) -> Decision<'_> {
        let named = |place: u32| self.named.get(place as usize);
        let decides = outcome.decides.and_then(named);
        let audited = outcome
            .first
            .filter(|first| Some(*first) != outcome.decides);
        Decision {
            effect: decides.map_or(self.default, |rule| rule.effect),
            unavailable: decides.map_or(self.default_unavailable, |rule| rule.unavailable),
            violation: decides.map_or(self.default_violation, |rule| rule.violation),
            by: decides.map_or(Decided::Default(self.kind), |rule| {
                Decided::Rule(rule.name())
            }),
            audited: audited
                .and_then(named)
                .map(|rule| (rule.name(), rule.effect)),
        }
    }
}

/// No policy's names are given by a server that it does not trust.
fn resolvers(policies: &[&Policy]) -> Box<[IpAddr]> {
    let names = |policy: &&&Policy| policy.rules.iter().any(Rule::names_hosts);
    let mut naming = policies.iter().filter(names);
    let of = |policy: &&Policy| -> BTreeSet<IpAddr> {
        let servers = policy.resolvers.iter().flatten();
        servers.copied().collect()
    };
    let mut trusted = naming.next().map(of).unwrap_or_default();
    for policy in naming {
        let own = of(policy);
        trusted.retain(|server| own.contains(server));
    }
    trusted.into_iter().collect()
}
