//! `bartizan guest`: what the enclave of a guest's host does to it, wherever that host is.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::failure::UNAVAILABLE;
use crate::output::Output;
use crate::utc::utc;
use crate::verifier::Verifier;

#[derive(Subcommand)]
pub(crate) enum Guest {
    /// Cut a guest from every network, whatever its policies allow, in this boot and in those that come.
    ///
    /// The enclave of its host does it, and says so once devices carry no packet of the guest's any more; while one of them is away the
    /// command waits, and the guest is not isolated.
    ///
    /// Exit code: 0 isolated; 1 refused, or no such guest runs; 2 wrong usage; 69 the verifier or the enclave is away.
    #[command(
        after_help = "Examples:\n  bartizan guest isolate urn:bartizan:guest:7d2e…:0b51… --reason 'scans its neighbours'\n  bartizan guest isolate urn:bartizan:guest:7d2e…:0b51…:4 --reason 'this boot only if it still runs' --json"
    )]
    Isolate(Order),
    /// Give a guest back what its policies allow.
    ///
    /// Exit code: 0 released; 1 refused, or there is no such guest; 2 wrong usage; 69 the verifier or the enclave is away.
    #[command(
        after_help = "Example: bartizan guest release urn:bartizan:guest:7d2e…:0b51… --reason 'cleaned and attested'"
    )]
    Release(Order),
    /// What was ordered so, by whom, and what came of it; the newest first.
    #[command(after_help = "Example: bartizan guest commands --json")]
    Commands {
        #[command(flatten)]
        verifier: Verifier,
    },
}

/// A guest, and why.
#[derive(Args)]
pub(crate) struct Order {
    /// The guest's URN, `urn:bartizan:guest:CARD:VM:BOOT`; without `:BOOT`, whichever boot runs.
    guest: String,
    /// Why, for the auditors.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    verifier: Verifier,
}

/// The route of the verifier.
const COMMANDS: &str = "/v1/guest-commands";

pub(crate) fn run(command: Guest, output: Output) -> Result<ExitCode> {
    match command {
        Guest::Isolate(order) => have_done(&order, "isolate", "isolated", output),
        Guest::Release(order) => have_done(&order, "release", "released", output),
        Guest::Commands { verifier } => {
            let mut commands = verifier.list(COMMANDS, "commands")?;
            for command in commands.as_array_mut().into_iter().flatten() {
                let at_ms = command["ordered_at_ms"].as_u64();
                command["at"] = at_ms.map(utc).into();
            }
            let columns = ["at", "operator", "command", "guest", "state", "reason"];
            output.table(&commands, &columns);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn have_done(order: &Order, command: &str, done: &str, output: Output) -> Result<ExitCode> {
    let body = json!({ "guest": order.guest, "command": command, "reason": order.reason });
    let mut answer = order.verifier.ask("POST", COMMANDS, Some(&body))?;
    let (sentence, code) = outcome(&answer, &order.guest, done);
    answer["ok"] = (code == 0).into();
    output.result(&answer, &sentence);
    Ok(code.into())
}

/// What came of it in words, and as an exit code.
fn outcome(answer: &Value, guest: &str, done: &str) -> (String, u8) {
    let detail = answer["detail"].as_str();
    let detail = detail
        .map(|detail| format!(": {detail}"))
        .unwrap_or_default();
    match answer["state"].as_str() {
        Some("done") => (format!("{guest} is {done}"), 0),
        Some("no-guest") => (format!("not {done}: {guest} does not run there"), 1),
        Some("queued") if answer["connected"] == true => (
            format!(
                "not {done} yet: the enclave of its host has not answered; see `bartizan guest commands`"
            ),
            UNAVAILABLE,
        ),
        Some("queued") => (
            format!(
                "not {done} yet: the enclave of its host is away, and will be told when it is back; see `bartizan guest commands`"
            ),
            UNAVAILABLE,
        ),
        _ => (format!("not {done}: the enclave could not{detail}"), 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_done_is_success() {
        let of = |state: &str, connected: bool| {
            let answer = json!({ "state": state, "connected": connected, "detail": "why" });
            outcome(&answer, "it", "isolated")
        };
        assert_eq!(of("done", true), ("it is isolated".into(), 0));
        let (failed, code) = of("failed", true);
        assert!(failed.ends_with(": why") && code == 1, "{failed}");
        assert_eq!(of("no-guest", true).1, 1);
        for connected in [true, false] {
            let (queued, code) = of("queued", connected);
            assert!(queued.starts_with("not isolated yet"), "{queued}");
            assert_eq!(code, UNAVAILABLE);
        }
        assert_eq!(of("what no verifier says", true).1, 1);
    }
}
