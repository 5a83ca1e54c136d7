//! What would be decided otherwise of what was decided before.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use bartizan_policy::{Compiled, Effect, Policy};
use serde::Deserialize;
use serde_json::{Value, json};

use super::case::{GuestCase, RequestCase};
use super::policies;
use crate::output::Output;

/// Most bytes of a record.
const MAX_RECORD: u64 = 64 << 10;
/// Guests whose policies are kept compiled.
const MAX_GUESTS: usize = 256;

/// A record: one line of JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    guest: GuestCase,
    request: RequestCase,
    decision: Recorded,
}

/// What was decided, as `bartizan policy explain --json` says it; what else that says is passed over.
#[derive(Deserialize)]
struct Recorded {
    effect: Effect,
    by: String,
}

/// What changes in one way.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    change: &'static str,
    old: String,
    new: String,
}

/// How often, and where first.
struct Times {
    count: u64,
    first: u64,
}

pub(super) fn run(files: &[PathBuf], records: &Path, output: Output) -> Result<ExitCode> {
    let policies = policies(files)?;
    let file =
        File::open(records).with_context(|| format!("could not read {}", records.display()))?;
    let mut replay = Replay::new(&policies);
    replay
        .all(BufReader::new(file))
        .with_context(|| format!("{} has no such records", records.display()))?;
    let changes = &replay.changes;
    let rows = changes.iter().map(|(change, times)| {
        json!({
            "change": change.change, "old": change.old, "new": change.new,
            "count": times.count, "first": times.first,
        })
    });
    let rows = rows.collect();
    output.table(
        &Value::Array(rows),
        &["change", "count", "first", "old", "new"],
    );
    Ok(if changes.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

struct Replay<'p> {
    policies: &'p [Policy],
    /// By the guest as it is written.
    compiled: BTreeMap<String, Compiled>,
    changes: BTreeMap<Change, Times>,
}

impl<'p> Replay<'p> {
    const fn new(policies: &'p [Policy]) -> Self {
        Self {
            policies,
            compiled: BTreeMap::new(),
            changes: BTreeMap::new(),
        }
    }

    fn all(&mut self, mut from: impl BufRead) -> Result<()> {
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let mut bounded = from.by_ref().take(MAX_RECORD + 1);
            if bounded.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            ensure!(
                line.len() as u64 <= MAX_RECORD,
                "line {number}: a record has {MAX_RECORD} bytes at most"
            );
            if line.trim_ascii().is_empty() {
                continue;
            }
            self.one(number, &line)
                .with_context(|| format!("line {number}"))?;
        }
        Ok(())
    }

    fn one(&mut self, number: u64, line: &[u8]) -> Result<()> {
        let Record {
            guest,
            request,
            decision: was,
        } = serde_json::from_slice(line)?;
        let compiled = self.compiled(&guest)?;
        let (effect, by) = request.with(|request| {
            let decision = compiled.decide(request);
            (decision.effect, decision.by.to_string())
        })?;
        let change = match (was.effect == effect, was.by == by) {
            (true, true) => return Ok(()),
            (true, false) => "by",
            (false, _) => "effect",
        };
        let change = Change {
            change,
            old: format!("{}: {}", was.effect, was.by),
            new: format!("{effect}: {by}"),
        };
        let times = self.changes.entry(change).or_insert(Times {
            count: 0,
            first: number,
        });
        times.count += 1;
        Ok(())
    }

    fn compiled(&mut self, case: &GuestCase) -> Result<&Compiled> {
        let written = format!("{case:?}");
        if !self.compiled.contains_key(&written) {
            if self.compiled.len() >= MAX_GUESTS {
                self.compiled.clear();
            }
            let compiled = Compiled::of(self.policies, &case.guest()?)?;
            self.compiled.insert(written.clone(), compiled);
        }
        self.compiled.get(&written).context("a guest's policies")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bartizan_policy::{Format, read};

    const RECORDS: &str = r#"
{"guest": {"role": "web", "labels": {"env": "production"}}, "request": {"network": {"direction": "ingress", "protocol": "tcp", "address": "192.0.2.7", "port": 443}}, "decision": {"effect": "allow", "by": "shop/web/clients", "unavailable": "allow"}}
{"guest": {"role": "web", "labels": {"env": "production"}}, "request": {"network": {"direction": "egress", "protocol": 17, "address": "10.0.0.53", "port": 53, "peer": "unknown"}}, "decision": {"effect": "allow", "by": "shop/web/names"}}
{"guest": {"role": "web", "labels": {"env": "production"}}, "request": {"network": {"direction": "ingress", "protocol": "tcp", "address": "192.0.2.7", "port": 80}}, "decision": {"effect": "allow", "by": "shop/web/clients"}}
"#;
    const WEB: &str = include_str!("../../../../trust/policy/examples/web.yaml");

    /// Kind, old, new, how often, line of the first.
    type Told = (&'static str, String, String, u64, u64);

    fn changes(policy: &str, records: &str) -> Result<Vec<Told>> {
        let policies = [read(policy, Format::Yaml)?];
        let mut replay = Replay::new(&policies);
        replay.all(records.as_bytes())?;
        let changes = replay.changes.into_iter();
        let all =
            changes.map(|(one, times)| (one.change, one.old, one.new, times.count, times.first));
        Ok(all.collect())
    }

    #[test]
    fn what_changes_is_told_with_how_often_and_where_first() {
        assert!(changes(WEB, RECORDS).unwrap().is_empty());
        let narrower = WEB.replace("ports: [80, 443]", "ports: [443]");
        let default = "deny: no rule matches: the default for network".to_owned();
        let clients = "allow: shop/web/clients".to_owned();
        assert_eq!(
            changes(&narrower, RECORDS).unwrap(),
            [("effect", clients.clone(), default, 1, 4)]
        );
        let renamed = WEB.replace("name: clients", "name: visitors");
        let visitors = "allow: shop/web/visitors".to_owned();
        assert_eq!(
            changes(&renamed, RECORDS).unwrap(),
            [("by", clients, visitors, 2, 2)]
        );
    }

    #[test]
    fn what_is_no_record_is_told_with_its_line() {
        for (records, line) in [
            (RECORDS.replace("\"port\": 80}", "\"prot\": 80}"), 4),
            (RECORDS.replace("\"unknown\"", "\"nobody\""), 3),
            (format!("{}\n", " ".repeat(70_000)), 1),
            (
                RECORDS.replace(
                    "\"decision\": {\"effect\": \"allow\", \"by\": \"shop/web/names\"}",
                    "\"x\": 1",
                ),
                3,
            ),
        ] {
            let error = format!("{:#}", changes(WEB, &records).unwrap_err());
            assert!(error.contains(&format!("line {line}")), "{error}");
        }
    }
}
