//! Why something is decided so.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use bartizan_policy::{Compiled, Depended, Extent, plain};
use serde_json::json;

use super::case::{GuestCase, RequestCase};
use super::policies;
use crate::output::Output;

pub(super) fn run(
    files: &[PathBuf],
    guest: &str,
    request: &str,
    output: Output,
) -> Result<ExitCode> {
    let policies = policies(files)?;
    let guest: GuestCase = serde_saphyr::from_str(guest).context("--guest is no guest")?;
    let guest = guest.guest().context("--guest is no guest")?;
    let request: RequestCase =
        serde_saphyr::from_str(request).context("--request is no request")?;
    let compiled = Compiled::of(&policies, &guest)?;
    let (value, sentence) = request.with(|request| {
        let (decision, depended) = compiled.decide_widely(request);
        let matching = plain::matching(&policies, &guest, request);
        let matching: Vec<_> = matching
            .iter()
            .map(|(name, rule)| {
                json!({
                    "rule": name.to_string(), "effect": rule.effect, "mode": rule.mode,
                    "priority": rule.priority,
                })
            })
            .collect();
        let depended: Vec<_> = depended.iter().map(shown).collect();
        let violation = decision.violation.map(|action| action.name());
        let mut sentence = format!("{}: {}", decision.effect, decision.by);
        if let Some(violation) = violation {
            sentence += &format!("; its violation leads to: {violation}");
        }
        sentence += &format!("\nwhile nobody can decide: {}", decision.unavailable);
        if let Some((rule, effect)) = decision.audited {
            sentence += &format!("\nin audit, {rule} would {effect} it");
        }
        sentence += &format!("\ndepends on: {}", join(&depended));
        for rule in &matching {
            sentence += &format!("\n  matches: {rule}");
        }
        let value = json!({
            "effect": decision.effect, "by": decision.by.to_string(),
            "unavailable": decision.unavailable, "violation": violation,
            "audited": decision.audited.map(|(rule, _)| rule.to_string()),
            "depends_on": depended, "matching": matching,
        });
        (value, sentence)
    })?;
    output.result(&value, &sentence);
    Ok(ExitCode::SUCCESS)
}

fn shown(depended: &Depended) -> String {
    match depended.extent {
        Extent::Exactly => depended.field.to_string(),
        Extent::Numbers {
            first,
            last: u128::MAX,
        } => format!("{} from {first} on", depended.field),
        Extent::Numbers { first, last } => format!("{} from {first} to {last}", depended.field),
    }
}

fn join(depended: &[String]) -> String {
    if depended.is_empty() {
        return "nothing of the request".to_owned();
    }
    depended.join(", ")
}
