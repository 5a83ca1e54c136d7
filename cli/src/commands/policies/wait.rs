//! Waiting until a set is in force.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use super::IN_FORCE;
use crate::output::Output;
use crate::verifier::Verifier;

/// How often is looked.
const PERIOD: Duration = Duration::from_millis(200);

/// How hosts with an enclave stand to a set.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Standing {
    in_force: usize,
    /// What enclaves said of it, with the names of their hosts.
    refused: Vec<String>,
    /// Hosts that have said nothing yet, those that are away among them: what rules there is what ruled before.
    waiting: Vec<String>,
}

pub(super) fn until_in_force(
    verifier: &Verifier,
    set: &Value,
    timeout: u64,
    output: Output,
) -> Result<ExitCode> {
    let number = set["number"].as_u64().unwrap_or(u64::MAX);
    let until = Instant::now() + Duration::from_secs(timeout);
    let standing = loop {
        let hosts = verifier.list(IN_FORCE.0, IN_FORCE.1)?;
        let standing = Standing::of(&hosts, number);
        if standing.waiting.is_empty() || Instant::now() >= until {
            break standing;
        }
        std::thread::sleep(PERIOD);
    };
    let ok = standing.refused.is_empty() && standing.waiting.is_empty();
    let mut sentence = format!("set {number} is in force at {} hosts", standing.in_force);
    for refused in &standing.refused {
        sentence += &format!("\nrefused by the enclave of {refused}");
    }
    for waiting in &standing.waiting {
        sentence += &format!("\nnot in force yet at {waiting}");
    }
    let shown = json!({
        "ok": ok, "number": number, "in_force": standing.in_force,
        "refused": standing.refused, "waiting": standing.waiting,
    });
    output.result(&shown, &sentence);
    Ok(if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Standing {
    /// Of all hosts whose enclave was ever heard.
    pub(super) fn of(hosts: &Value, number: u64) -> Self {
        let mut standing = Self {
            in_force: 0,
            refused: Vec::new(),
            waiting: Vec::new(),
        };
        for host in hosts.as_array().into_iter().flatten() {
            let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
            let name = text(&host["name"]).or_else(|| text(&host["card"]));
            let name = name.unwrap_or_default();
            let reached = |of: &str| host[of]["number"].as_u64().is_some_and(|it| it >= number);
            if reached("refused") {
                let why = text(&host["refused"]["detail"]).unwrap_or_default();
                standing.refused.push(format!("{name}: {why}"));
            } else if reached("in_force") {
                standing.in_force += 1;
            } else if host["connected"] == true {
                standing.waiting.push(name);
            } else if !host["in_force"].is_null() || !host["refused"].is_null() {
                standing.waiting.push(format!("{name}, which is away"));
            }
        }
        standing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_hosts_are_waited_for_and_refusals_count() {
        let hosts = json!([
            { "name": "a", "connected": true, "in_force": { "number": 7 }, "refused": null },
            { "name": "b", "connected": true, "in_force": { "number": 6 }, "refused": null },
            { "name": null, "card": "c0", "connected": true, "in_force": null, "refused": null },
            { "name": "d", "connected": true, "in_force": { "number": 6 },
              "refused": { "number": 7, "detail": "no author" } },
            { "name": "e", "connected": true, "in_force": { "number": 8 }, "refused": { "number": 6 } },
            { "name": "f", "connected": false, "in_force": { "number": 6 }, "refused": null },
            { "name": "without-enclave", "connected": false, "in_force": null, "refused": null },
        ]);
        let due = Standing {
            in_force: 2,
            refused: vec!["d: no author".into()],
            waiting: vec!["b".into(), "c0".into(), "f, which is away".into()],
        };
        assert_eq!(Standing::of(&hosts, 7), due);
    }
}
