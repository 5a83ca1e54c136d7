//! `bartizan revocation`: hosts, guests and applications that get no token any more, operators whose word counts no more; who decided so.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use serde_json::json;

use crate::output::Output;
use crate::utc::utc;
use crate::verifier::{Verifier, segment};

#[derive(Subcommand)]
pub(crate) enum Revocation {
    /// Revoke a host, a guest, an application or an operator.
    ///
    /// From now on nothing is affirmed for that host, guest or application; that operator is refused, and what they
    /// signed is launched no more. Guests that run go on.
    #[command(
        after_help = "Examples:\n  bartizan revocation add guest urn:bartizan:guest:… --reason 'compromised'\n  bartizan revocation add operator alice --reason 'left'"
    )]
    Add {
        /// What.
        kind: Kind,
        /// The host's card id, the guest's URN, the application's name, the operator's name.
        subject: String,
        /// Why, for the auditors.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        verifier: Verifier,
    },
    /// Take a revocation back.
    #[command(after_help = "Example: bartizan revocation remove application nginx")]
    Remove {
        /// What.
        kind: Kind,
        /// Which.
        subject: String,
        #[command(flatten)]
        verifier: Verifier,
    },
    /// Who revoked what, took it back, and cleared which forks; the newest first.
    #[command(after_help = "Example: bartizan revocation history --json")]
    History {
        #[command(flatten)]
        verifier: Verifier,
    },
    /// What is revoked.
    #[command(after_help = "Example: bartizan revocation list")]
    List {
        #[command(flatten)]
        verifier: Verifier,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Kind {
    Host,
    Guest,
    Application,
    Operator,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Guest => "guest",
            Self::Application => "application",
            Self::Operator => "operator",
        }
    }
}

pub(crate) fn run(command: Revocation, output: Output) -> Result<ExitCode> {
    match command {
        Revocation::Add {
            kind,
            subject,
            reason,
            verifier,
        } => {
            let body = json!({ "kind": kind.name(), "subject": subject, "reason": reason });
            verifier.ask("POST", "/v1/revocations", Some(&body))?;
            let shown = json!({ "ok": true, "kind": kind.name(), "subject": subject });
            output.result(&shown, &format!("{} {subject} revoked", kind.name()));
        }
        Revocation::Remove {
            kind,
            subject,
            verifier,
        } => {
            let path = format!(
                "/v1/revocations?kind={}&subject={}",
                kind.name(),
                segment(&subject)
            );
            verifier.ask("DELETE", &path, None)?;
            output.result(
                &json!({ "ok": true }),
                &format!("{} {subject} no longer revoked", kind.name()),
            );
        }
        Revocation::History { verifier } => {
            let mut decisions = verifier.list("/v1/revocations/history", "decisions")?;
            for decision in decisions.as_array_mut().into_iter().flatten() {
                let at_ms = decision["at_ms"].as_u64();
                decision["at"] = at_ms.map(utc).into();
            }
            let columns = ["at", "operator", "decision", "kind", "subject", "why"];
            output.table(&decisions, &columns);
        }
        Revocation::List { verifier } => {
            let revocations = verifier.list("/v1/revocations", "revocations")?;
            output.table(&revocations, &["kind", "subject", "reason"]);
        }
    }
    Ok(ExitCode::SUCCESS)
}
