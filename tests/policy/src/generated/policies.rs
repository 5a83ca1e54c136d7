//! Policies and the guests that they select.

use std::collections::BTreeMap;

use bartizan_policy::{Defaults, Guest, Policy, Rule, Selection, Trust};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use uuid::Uuid;

use super::padding::padding;
use super::rules::{action, effect, rule};
use super::words::{KEYS, ROLES, VALUES};

/// How large policies are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sizes {
    /// Some rules, now and then hundreds: sets of rules are written as bits, over several words.
    Small,
    /// Thousands: over several words of their summary.
    Large,
    /// Small, but for one in sixty.
    Mixed,
}

/// A guest, in any state of trust.
pub fn guest() -> impl Strategy<Value = Guest> {
    (0..3_u128, select(&ROLES[..]), labels(), trust()).prop_map(|(vm, role, labels, trust)| Guest {
        vm: Uuid::from_u128(vm),
        role: role.into(),
        labels,
        trust,
    })
}

/// Policies, no two of one name, and not in the order of these.
pub fn policies(sizes: Sizes) -> impl Strategy<Value = Vec<Policy>> {
    let none = || Just(Vec::new());
    let padding = match sizes {
        Sizes::Small => none().boxed(),
        Sizes::Large => padding(4000..6000).boxed(),
        Sizes::Mixed => prop_oneof![59 => none(), 1 => padding(0..6000)].boxed(),
    };
    let some = prop_oneof![1 => Just(Vec::new()), 15 => vec(policy(), 1..4)];
    (some, padding).prop_map(|(mut policies, padding)| {
        if let Some(first) = policies.first_mut() {
            first.rules.extend(padding);
        }
        for (number, policy) in policies.iter_mut().enumerate() {
            policy.name = format!("policy-{number}");
            for (number, rule) in policy.rules.iter_mut().enumerate() {
                rule.name = format!("rule-{number}");
            }
        }
        policies.reverse();
        policies
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    let whom = (selection(), defaults(), effect(), action());
    (whom, rules()).prop_map(
        |((select, defaults, on_unavailable, on_violation), rules)| Policy {
            version: 1,
            name: String::new(),
            serial: 1,
            select,
            defaults,
            on_unavailable,
            on_violation,
            resolvers: Some(vec![[10, 0, 0, 53].into()]),
            rules,
            thresholds: Vec::new(),
            integrity: Vec::new(),
        },
    )
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    prop_oneof![16 => vec(rule(), 0..12), 4 => vec(rule(), 12..60), 1 => vec(rule(), 100..300)]
}

/// Most select all: where none does, there is nothing to compare.
fn selection() -> impl Strategy<Value = Selection> {
    let vms = of(vec((0..3_u128).prop_map(Uuid::from_u128), 1..3));
    let some = (vms, of(words(&ROLES)), labels(), of(vec(trust(), 1..3))).prop_map(
        |(vms, roles, labels, trust)| Selection {
            vms,
            roles,
            labels,
            trust,
        },
    );
    prop_oneof![3 => Just(Selection::default()), 1 => some]
}

fn defaults() -> impl Strategy<Value = Defaults> {
    (of(effect()), of(effect()), of(effect()), of(effect())).prop_map(
        |(exec, file, network, syscall)| Defaults {
            exec,
            file,
            network,
            syscall,
        },
    )
}

fn trust() -> impl Strategy<Value = Trust> {
    select(&[Trust::None, Trust::Affirming, Trust::Contraindicated][..])
}

pub(super) fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    let word = |words: &'static [&str]| select(words).prop_map(str::to_owned);
    btree_map(word(&KEYS), word(&VALUES), 0..2)
}

pub(super) fn words(words: &'static [&str]) -> impl Strategy<Value = Vec<String>> {
    subsequence(words, 1..=words.len())
        .prop_map(|words| words.into_iter().map(str::to_owned).collect())
}
