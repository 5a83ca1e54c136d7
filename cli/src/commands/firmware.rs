//! `bartizan firmware`: what the firmware of hosts may have measured, for all machines of a kind.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Subcommand;
use serde::Deserialize;
use serde_json::{Value, json};

use super::host::firmware::Shown;
use crate::output::Output;
use crate::verifier::{Verifier, segment};

#[derive(Subcommand)]
pub(crate) enum Firmware {
    /// Register what a machine's PCRs hold as a reference: hosts of that kind are accepted, however many.
    ///
    /// Taken from a host that the verifier has seen, as it showed itself last (`bartizan host firmware`), or from a file. A reference is
    /// met by hosts whose PCRs are all those of it: leave out what differs between equal machines, 1 as a rule.
    ///
    /// To update firmware, kernel or boot loader: update one machine, which is refused now; register what it shows; update the others;
    /// retire the former reference.
    ///
    /// Exit code: 0 registered, 1 refused, 2 wrong usage, 69 the verifier is away.
    #[command(
        after_help = "Examples:\n  bartizan firmware register 'R760, BIOS 2.4.4' --host 7d2e… --pcrs 0,2,4,7\n  bartizan host firmware 7d2e… --json >lab.json\n  bartizan firmware register 'R760, BIOS 2.4.4' --values lab.json --pcrs 0,2,4,7"
    )]
    Register {
        /// Which machines and firmware it is of.
        name: String,
        /// The host's card id, as `bartizan host list` shows it.
        #[arg(long, conflicts_with = "values", required_unless_present = "values")]
        host: Option<String>,
        /// What `bartizan host firmware --json` printed, or another JSON object with `pcrs`: SHA-384 digests by PCR number.
        #[arg(long, value_name = "FILE")]
        values: Option<PathBuf>,
        /// The PCRs of the reference.
        #[arg(long, value_delimiter = ',', required = true)]
        pcrs: Vec<u8>,
        #[command(flatten)]
        verifier: Verifier,
    },
    /// The references that were registered with the verifier.
    #[command(after_help = "Example: bartizan firmware list")]
    List {
        #[command(flatten)]
        verifier: Verifier,
    },
    /// Retire a reference: where firmware is demanded, hosts that were accepted by it are refused from now on.
    #[command(after_help = "Example: bartizan firmware retire 5c1f…")]
    Retire {
        /// Its id, as `bartizan firmware list` shows it.
        id: String,
        #[command(flatten)]
        verifier: Verifier,
    },
}

/// What a file says that PCRs hold.
#[derive(Deserialize)]
struct Values {
    pcrs: BTreeMap<u8, String>,
}

pub(crate) fn run(command: Firmware, output: Output) -> Result<ExitCode> {
    match command {
        Firmware::Register {
            name,
            host,
            values,
            pcrs,
            verifier,
        } => {
            let values = match (host, values) {
                (Some(host), _) => Shown::of(&host, &verifier)?.values(&pcrs)?,
                (None, Some(file)) => read(&file, &pcrs)?,
                // clap has asked for one of them.
                (None, None) => BTreeMap::new(),
            };
            let body = json!({ "name": name, "pcrs": values });
            let answer = verifier.ask("POST", "/v1/firmware", Some(&body))?;
            let id = answer["id"].as_str().unwrap_or_default();
            let shown = json!({ "ok": true, "id": id, "name": name, "pcrs": values });
            output.result(&shown, &format!("{name} is in force: {id}"));
        }
        Firmware::List { verifier } => {
            let mut references = verifier.list("/v1/firmware", "references")?;
            for reference in references.as_array_mut().into_iter().flatten() {
                let in_force = reference["retired_at_ms"].is_null();
                reference["state"] = if in_force { "in force" } else { "retired" }.into();
                reference["of"] = numbers(&reference["pcrs"]).into();
            }
            output.table(&references, &["state", "name", "of", "id"]);
        }
        Firmware::Retire { id, verifier } => {
            let path = format!("/v1/firmware/{}", segment(&id));
            verifier.ask("DELETE", &path, None)?;
            let sentence = format!(
                "{id} is retired: where firmware is demanded, hosts that have it are refused until they show another's"
            );
            output.result(&json!({ "ok": true, "id": id }), &sentence);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path, pcrs: &[u8]) -> Result<BTreeMap<u8, String>> {
    let text = fs::read_to_string(file);
    let text = text.with_context(|| format!("could not read {}", file.display()))?;
    let values: Values = serde_json::from_str(&text)
        .with_context(|| format!("{} has no PCRs by number", file.display()))?;
    let value = |pcr: &u8| {
        let value = values.pcrs.get(pcr).cloned();
        let value = value.with_context(|| format!("{} has no PCR {pcr}", file.display()))?;
        Ok((*pcr, value))
    };
    pcrs.iter().map(value).collect()
}

/// `0,4,7`, in their order as numbers.
fn numbers(pcrs: &Value) -> String {
    let names = pcrs.as_object().into_iter().flat_map(|pcrs| pcrs.keys());
    let mut numbers: Vec<u8> = names.filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    let numbers: Vec<_> = numbers.iter().map(ToString::to_string).collect();
    numbers.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pcrs_are_told_in_their_order() {
        let pcrs = json!({ "10": "a", "2": "b", "0": "c" });
        assert_eq!(numbers(&pcrs), "0,2,10");
    }

    #[test]
    fn a_file_gives_the_values_that_are_asked_for() {
        let file = std::env::temp_dir().join(format!("values-{}", std::process::id()));
        fs::write(&file, r#"{"ok": true, "pcrs": {"0": "aa", "4": "bb"}}"#).unwrap();
        assert_eq!(
            read(&file, &[4]).unwrap(),
            BTreeMap::from([(4, "bb".into())])
        );
        read(&file, &[7]).unwrap_err();
        fs::write(&file, "{}").unwrap();
        read(&file, &[4]).unwrap_err();
        fs::remove_file(&file).unwrap();
    }
}
