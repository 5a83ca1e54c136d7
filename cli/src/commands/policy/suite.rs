//! Tests of policies.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use bartizan_policy::{Compiled, Decided, Effect};
use serde::Deserialize;
use serde_json::{Value, json};

use super::case::{GuestCase, RequestCase};
use super::policies;
use crate::output::Output;

/// A file of tests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Suite {
    /// Beside the file.
    policies: Vec<PathBuf>,
    pub(super) guests: BTreeMap<String, GuestCase>,
    pub(super) tests: Vec<Test>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Test {
    pub(super) name: String,
    pub(super) guest: String,
    pub(super) request: RequestCase,
    effect: Effect,
    /// `POLICY/RULE`; left out, any.
    #[serde(default)]
    rule: Option<String>,
}

impl Suite {
    pub(super) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file)
            .with_context(|| format!("could not read {}", file.display()))?;
        serde_saphyr::from_str(&text)
            .with_context(|| format!("{} is no file of tests", file.display()))
    }

    pub(super) fn guest(&self, test: &Test) -> Result<&GuestCase> {
        let guest = self.guests.get(&test.guest);
        guest.with_context(|| format!("test `{}` is of no guest of the file", test.name))
    }
}

pub(super) fn run(files: &[PathBuf], output: Output) -> Result<ExitCode> {
    let mut rows = Vec::new();
    for file in files {
        let suite = Suite::read(file)?;
        let beside = file.parent().unwrap_or(Path::new(""));
        let paths: Vec<_> = suite
            .policies
            .iter()
            .map(|path| beside.join(path))
            .collect();
        let policies = policies(&paths)?;
        for test in &suite.tests {
            let guest = suite.guest(test)?.guest()?;
            let compiled = Compiled::of(&policies, &guest)?;
            let row = test.request.with(|request| {
                let decision = compiled.decide(request);
                let by = decision.by.to_string();
                let is_rule = matches!(decision.by, Decided::Rule(_));
                let rule = test.rule.as_ref();
                let right = decision.effect == test.effect
                    && rule.is_none_or(|rule| is_rule && *rule == by);
                json!({
                    "ok": right, "test": test.name, "decided": decision.effect, "by": by,
                    "expected": match rule {
                        Some(rule) => format!("{} by {rule}", test.effect),
                        None => test.effect.to_string(),
                    },
                })
            })?;
            rows.push(row);
        }
    }
    let right = rows.iter().all(|row| row["ok"] == true);
    output.table(
        &Value::Array(rows),
        &["ok", "test", "decided", "by", "expected"],
    );
    Ok(if right {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(text: &str) -> ExitCode {
        let folder = tempfile::tempdir().unwrap();
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../trust/policy/examples");
        for name in ["web.yaml", "hardening.yaml"] {
            fs::copy(examples.join(name), folder.path().join(name)).unwrap();
        }
        let file = folder.path().join("web.test.yaml");
        fs::write(&file, text).unwrap();
        run(&[file], Output::new(true)).unwrap()
    }

    #[test]
    fn the_example_is_decided_as_it_says() {
        const EXAMPLE: &str = include_str!("../../../../trust/policy/examples/web.test.yaml");
        assert_eq!(ended(EXAMPLE), ExitCode::SUCCESS);
        for (from, to) in [
            ("port: 22", "port: 80"),
            ("hardening/no-modules", "hardening/no-secrets"),
            ("{env: staging}", "{env: production}"),
        ] {
            assert_eq!(ended(&EXAMPLE.replace(from, to)), ExitCode::FAILURE, "{to}");
        }
    }
}
