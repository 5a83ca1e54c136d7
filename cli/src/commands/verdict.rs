//! `bartizan verdict`: what the verifier judged.

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::output::Output;
use crate::verifier::{Verifier, segment};

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
    /// One verdict, with the reasons.
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
            let mut path = format!("/v1/verdicts?limit={limit}");
            for (name, value) in [
                ("guest", guest),
                ("application", application),
                ("after", after),
            ] {
                if let Some(value) = value {
                    path += &format!("&{name}={}", segment(&value));
                }
            }
            let answer = verifier.ask("GET", &path, None)?;
            output.table(
                &answer["verdicts"],
                &["id", "application", "status", "guest"],
            );
        }
        Verdict::Show { id, verifier } => {
            let verdict = verifier.ask("GET", &format!("/v1/verdicts/{}", segment(&id)), None)?;
            output.result(&verdict, &serde_json::to_string_pretty(&verdict)?);
        }
    }
    Ok(ExitCode::SUCCESS)
}
