//! What is wrong with policies.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use bartizan_policy::{
    Action, Compiled, Effect, Guest, Kind, MAX_POLICIES, MAX_VALUES, Mode, Policy, Rule, Subject,
    TooLarge, Trust,
};
use serde_json::{Value, json};

use super::policy;
use crate::output::Output;

pub(super) fn run(files: &[PathBuf], output: Output) -> Result<ExitCode> {
    let (mut rows, mut read) = (Vec::new(), Vec::new());
    let mut wrong = false;
    for file in files {
        let row = match policy(file) {
            Ok(policy) => {
                let row = json!({
                    "file": file, "ok": true, "policy": policy.name, "serial": policy.serial,
                    "rules": policy.rules.len(), "says": warnings(&policy).join("; "),
                });
                read.push(policy);
                row
            }
            Err(error) => {
                wrong = true;
                json!({ "file": file, "ok": false, "says": format!("{error:#}") })
            }
        };
        rows.push(row);
    }
    let of_set = no_set(&read);
    let is_set = of_set.is_none();
    wrong |= !is_set;
    let says = of_set.or_else(|| too_much_for_one(&read));
    rows.extend(says.map(|says| json!({ "file": "all", "ok": is_set, "says": says })));
    output.table(
        &Value::Array(rows),
        &["ok", "file", "policy", "serial", "rules", "says"],
    );
    Ok(if wrong {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// What may be a slip.
fn warnings(policy: &Policy) -> Vec<String> {
    let mut said = Vec::new();
    if policy.rules.is_empty() && policy.thresholds.is_empty() && policy.integrity.is_empty() {
        said.push("it has no rules".to_owned());
    }
    let unenforced = unenforced(policy);
    if !unenforced.is_empty() {
        said.push(format!(
            "no host enforces {}: hosts enforce rules of `network`",
            unenforced.join(", ")
        ));
    }
    let decide = policy
        .rules
        .iter()
        .filter(|rule| rule.mode == Mode::Enforce);
    for rule in decide.filter(|rule| asks_for_processes(rule)) {
        let what = match rule.effect {
            Effect::Allow => "allows nothing",
            Effect::Deny => "denies it of every process",
        };
        let name = &rule.name;
        said.push(format!(
            "`{name}` {what}: whose flow it is, by `subject`, is not known from outside of a guest"
        ));
    }
    for (place, rule) in policy.rules.iter().enumerate() {
        let before = policy.rules.iter().enumerate();
        let mut before = before.filter(|(_, other)| {
            (&other.subject, &other.what, other.mode) == (&rule.subject, &rule.what, rule.mode)
        });
        let precedence = |at: usize, priority: i32, effect: Effect| {
            (std::cmp::Reverse(priority), effect == Effect::Allow, at)
        };
        let own = precedence(place, rule.priority, rule.effect);
        let covered =
            before.find(|(at, other)| precedence(*at, other.priority, other.effect) < own);
        if let Some((_, other)) = covered {
            let (rule, other) = (&rule.name, &other.name);
            said.push(format!(
                "`{rule}` never decides: `{other}` matches the same before it"
            ));
        }
    }
    said
}

/// What of it nobody watches for.
fn unenforced(policy: &Policy) -> Vec<String> {
    let rules = &policy.rules;
    let kinds = Kind::ALL.into_iter().filter(|kind| {
        let of_kind = rules.iter().any(|rule| rule.what.kind() == *kind);
        *kind != Kind::Network && (of_kind || policy.defaults.of(*kind).is_some())
    });
    let mut all: Vec<_> = kinds.map(|kind| format!("`{}`", kind.name())).collect();
    let acts = policy.on_violation != Action::default()
        || rules.iter().any(|rule| rule.on_violation.is_some());
    let is_audited = rules.iter().any(|rule| rule.mode == Mode::Audit);
    let others = [
        (!policy.thresholds.is_empty(), "`thresholds`"),
        (!policy.integrity.is_empty(), "`integrity`"),
        (acts, "`on_violation`"),
        (is_audited, "reports of `mode: audit`"),
    ];
    all.extend(
        others
            .iter()
            .filter(|(has, _)| *has)
            .map(|(_, what)| (*what).to_owned()),
    );
    all
}

/// Whether a rule asks which process has a flow, which nobody knows from outside.
fn asks_for_processes(rule: &Rule) -> bool {
    rule.what.kind() == Kind::Network && rule.subject != Subject::default()
}

/// Why they are no set that an enclave takes.
fn no_set(policies: &[Policy]) -> Option<String> {
    let count = policies.len();
    if count as u64 > MAX_POLICIES {
        return Some(format!(
            "these are {count} policies, and a set has {MAX_POLICIES} at most"
        ));
    }
    let mut names = BTreeMap::new();
    for policy in policies {
        if names.insert(&policy.name, ()).is_some() {
            return Some(format!("two policies are called `{}`", policy.name));
        }
    }
    let values: usize = policies.iter().map(Policy::values).sum();
    if values > MAX_VALUES {
        return Some(format!(
            "they have {values} rules and values in lists together, and no enclave takes a set of more than {MAX_VALUES}"
        ));
    }
    let mut alone = policies.iter().filter_map(|policy| {
        let error = for_one_guest(&[policy])?;
        Some(format!(
            "`{}` alone is too much for a guest: {error}",
            policy.name
        ))
    });
    alone.next()
}

/// What a guest has that all of them select.
fn too_much_for_one(policies: &[Policy]) -> Option<String> {
    let error = for_one_guest(&policies.iter().collect::<Vec<_>>())?;
    Some(format!(
        "a guest that all of these select is denied everything: {error}"
    ))
}

/// Why a guest that these select cannot be served.
fn for_one_guest(policies: &[&Policy]) -> Option<TooLarge> {
    let all: Vec<_> = policies
        .iter()
        .map(|policy| Policy {
            select: Default::default(),
            ..(*policy).clone()
        })
        .collect();
    let guest = Guest {
        vm: "00000000-0000-0000-0000-000000000000".parse().ok()?,
        role: String::new(),
        labels: BTreeMap::new(),
        trust: Trust::None,
    };
    Compiled::of(&all, &guest).err()
}
