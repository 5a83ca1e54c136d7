//! What another issue of a policy changes.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use bartizan_policy::{Compiled, Policy};
use serde_json::{Map, Value, json};

use super::policy;
use super::suite::Suite;
use crate::output::Output;

pub(super) fn run(
    old: &Path,
    new: &Path,
    tests: Option<&Path>,
    output: Output,
) -> Result<ExitCode> {
    let (old, new) = (policy(old)?, policy(new)?);
    let mut rows = parts(&old, &new)?;
    if let Some(tests) = tests {
        rows.extend(decisions(&old, &new, tests)?);
    }
    let same = rows.is_empty();
    output.table(&Value::Array(rows), &["change", "what", "old", "new"]);
    Ok(if same {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Its parts by what they are called; of lists each by its name.
fn named(policy: &Policy) -> Result<Map<String, Value>> {
    let Value::Object(written) = serde_json::to_value(policy)? else {
        return Ok(Map::new());
    };
    let mut parts = Map::new();
    for (key, value) in written {
        match value {
            Value::Array(list) if key != "resolvers" => {
                for one in list {
                    let name = one["name"].as_str().unwrap_or_default();
                    parts.insert(format!("{key} {name}"), one);
                }
            }
            value => {
                parts.insert(key, value);
            }
        }
    }
    Ok(parts)
}

fn parts(old: &Policy, new: &Policy) -> Result<Vec<Value>> {
    let (old, new) = (named(old)?, named(new)?);
    let mut rows = Vec::new();
    for (what, was) in &old {
        match new.get(what) {
            None => rows.push(json!({ "change": "gone", "what": what, "old": was.to_string() })),
            Some(is) if is != was => rows.push(json!({
                "change": "changed", "what": what, "old": was.to_string(), "new": is.to_string(),
            })),
            Some(_) => {}
        }
    }
    for (what, is) in new.iter().filter(|(what, _)| !old.contains_key(*what)) {
        rows.push(json!({ "change": "new", "what": what, "new": is.to_string() }));
    }
    Ok(rows)
}

fn decisions(old: &Policy, new: &Policy, tests: &Path) -> Result<Vec<Value>> {
    let suite = Suite::read(tests)?;
    let mut rows = Vec::new();
    for test in &suite.tests {
        let guest = suite.guest(test)?.guest()?;
        let decided = |policy: &Policy| -> Result<String> {
            let policies = std::slice::from_ref(policy);
            let compiled = Compiled::of(policies, &guest)?;
            test.request.with(|request| {
                let decision = compiled.decide(request);
                format!("{}: {}", decision.effect, decision.by)
            })
        };
        let at = || format!("test `{}`", test.name);
        let (was, is) = (
            decided(old).with_context(at)?,
            decided(new).with_context(at)?,
        );
        if was != is {
            rows.push(json!({ "change": "decided", "what": test.name, "old": was, "new": is }));
        }
    }
    Ok(rows)
}
