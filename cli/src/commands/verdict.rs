//! `bartizan verdict`: what the verifier judged.

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use serde_json::Value;

use crate::listing;
use crate::output::Output;
use crate::utc::utc;
use crate::verifier::{Verifier, segment};

/// Most verdicts that are asked for at once.
const PAGE: u32 = 1000;

#[derive(Subcommand)]
pub(crate) enum Verdict {
    /// The latest verdicts.
    #[command(after_help = "Example: bartizan verdict list --application nginx")]
    List {
        /// Of this guest (URN).
        #[arg(long)]
        guest: Option<String>,
        /// Of this application.
        #[arg(long)]
        application: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// Only those older than the verdict with this id: the last one of the page before.
        #[arg(long)]
        after: Option<String>,
        #[command(flatten)]
        verifier: Verifier,
    },
    /// One verdict, with the reasons, and with report and token as long as they are kept.
    #[command(after_help = "Example: bartizan verdict show 0193a1c4-…")]
    Show {
        /// Its id.
        id: String,
        #[command(flatten)]
        verifier: Verifier,
    },
}

pub(crate) fn run(command: Verdict, output: Output) -> Result<ExitCode> {
    match command {
        Verdict::List {
            guest,
            application,
            limit,
            after,
            verifier,
        } => {
            let mut path = format!("/v1/verdicts?limit={}", limit.min(PAGE));
            for (name, value) in [("guest", guest), ("application", application)] {
                if let Some(value) = value {
                    path += &format!("&{name}={}", segment(&value));
                }
            }
            let most = usize::try_from(limit)?;
            let verdicts = listing::rows(&path, "verdicts", after.as_deref(), most, |page| {
                verifier.ask("GET", page, None)
            })?;
            output.table(&verdicts, &["id", "application", "status", "guest"]);
        }
        Verdict::Show { id, verifier } => {
            let verdict = verifier.ask("GET", &format!("/v1/verdicts/{}", segment(&id)), None)?;
            output.result(&verdict, &shown(&verdict)?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A verdict for people: as it is, and what became of its evidence.
fn shown(verdict: &Value) -> Result<String> {
    let mut text = serde_json::to_string_pretty(verdict)?;
    if let Some(dropped_at_ms) = verdict["evidence_dropped_at_ms"].as_u64() {
        text += &format!(
            "\nreport and token were dropped at {} by the verifier's retention policy; what is kept of the report is its SHA-256",
            utc(dropped_at_ms)
        );
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::shown;

    #[test]
    fn it_is_said_when_the_report_was_dropped() {
        let mut verdict = json!({"id": "1", "report": "AA", "evidence_dropped_at_ms": null});
        assert!(!shown(&verdict).unwrap().contains("dropped at"));
        verdict["report"] = json!(null);
        verdict["evidence_dropped_at_ms"] = json!(1_795_325_061_999_u64);
        let text = shown(&verdict).unwrap();
        assert!(text.contains("dropped at 2026-11-22T05:24:21Z"), "{text}");
    }
}
