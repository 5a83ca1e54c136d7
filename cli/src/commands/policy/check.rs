//! What is wrong with policies.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use bartizan_policy::{Action, Compiled, Effect, Guest, Mode, Policy, Trust, What};
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
    if let Some(problem) = together(&read) {
        wrong = true;
        rows.push(json!({ "file": "all", "ok": false, "says": problem }));
    }
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
fn unenforced(policy: &Policy) -> Vec<&'static str> {
    let rules = &policy.rules;
    let of = |kind: fn(&What) -> bool| rules.iter().any(|rule| kind(&rule.what));
    let acts = policy.on_violation != Action::default()
        || rules.iter().any(|rule| rule.on_violation.is_some());
    let all = [
        (of(|what| matches!(what, What::Exec(_))), "`exec`"),
        (of(|what| matches!(what, What::File(_))), "`file`"),
        (of(|what| matches!(what, What::Syscall(_))), "`syscall`"),
        (!policy.thresholds.is_empty(), "`thresholds`"),
        (!policy.integrity.is_empty(), "`integrity`"),
        (acts, "`on_violation`"),
        (
            rules.iter().any(|rule| rule.mode == Mode::Audit),
            "reports of `mode: audit`",
        ),
    ];
    all.into_iter()
        .filter_map(|(has, what)| has.then_some(what))
        .collect()
}

/// Whether guests that all of them select could be served.
fn together(policies: &[Policy]) -> Option<String> {
    let mut names = BTreeMap::new();
    for policy in policies {
        if names.insert(&policy.name, ()).is_some() {
            return Some(format!("two policies are called `{}`", policy.name));
        }
    }
    let mut all = policies.to_vec();
    for policy in &mut all {
        policy.select = Default::default();
    }
    let guest = Guest {
        vm: "00000000-0000-0000-0000-000000000000".parse().ok()?,
        role: String::new(),
        labels: BTreeMap::new(),
        trust: Trust::None,
    };
    Compiled::of(&all, &guest)
        .err()
        .map(|error| error.to_string())
}
