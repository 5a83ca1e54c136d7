//! `bartizan enclave`: the enclave of this host, as its card, its keeper, its hypervisor and the verifier have it.

mod seen;
mod stated;

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use bartizan_attestation::host::OperationReply;
use bartizan_attestation::operation::Operation;
use clap::Subcommand;
use serde_json::{Value, json};

use super::key::Places;
use crate::card::{Card, CardError};
use crate::failure::UNAVAILABLE;
use crate::output::Output;
use crate::verifier::Verifier;
use seen::{AtVerifier, Seen};

#[derive(Subcommand)]
pub(crate) enum Enclave {
    /// Whether this host has an enclave, what it was started from, certified until when, its limits, links, restarts, and the policies that
    /// are in force there.
    ///
    /// Exit code: 0 all is well; 1 something is not, which is said, or refused; 2 wrong usage; 69 the card is away, or the verifier, and all
    /// else is well.
    #[command(
        after_help = "Examples:\n  bartizan enclave status\n  bartizan enclave status --json"
    )]
    Status {
        #[command(flatten)]
        places: Places,
    },
    /// What a host's enclave stated: its starts, the sets of policies that are in force or were refused, isolation, what guests are taken for,
    /// what was denied. The verifier has verified each piece when it came; one that it does not believe is shown with the reason.
    ///
    /// Exit code: 0 all are believed, 1 one is not, or refused; 2 wrong usage; 69 the verifier is away.
    #[command(
        after_help = "Examples:\n  bartizan enclave evidence 5f0c…\n  bartizan enclave evidence 5f0c… --limit 5 --json\n\nCards: bartizan host list"
    )]
    Evidence {
        /// The host's card id.
        card: String,
        /// At most so many pieces, the newest first.
        #[arg(long, default_value_t = 20)]
        limit: u32,
        #[command(flatten)]
        verifier: Verifier,
    },
    /// On the host: forget the state of its enclave, which begins as the first time.
    ///
    /// To be ordered where the enclave says that its state is lost: it denies everything until then, and takes no policies. See to it first
    /// why it is lost. What the enclave has seen of policies is forgotten as well: the set that the verifier sends next rules, be it an older
    /// one, as long as its authors have signed it; and guests that were isolated are not any more. An enclave whose state was not lost ends
    /// at the next change of it, and is started again.
    ///
    /// Exit code: 0 reset, 1 refused, 2 wrong usage, 69 the card or its vault is away.
    #[command(
        after_help = "Examples:\n  bartizan enclave reset-state\n  bartizan enclave reset-state --json"
    )]
    ResetState {
        #[command(flatten)]
        card: Card,
    },
}

/// The list of hosts, and what it calls them.
const IN_FORCE: (&str, &str) = ("/v1/policy-set/in-force", "hosts");

pub(crate) fn run(command: Enclave, output: Output) -> Result<ExitCode> {
    match command {
        Enclave::Status { places } => status(places, output),
        Enclave::Evidence {
            card,
            limit,
            verifier,
        } => stated::show(&card, limit, &verifier, output),
        Enclave::ResetState { card } => reset_state(&card, output),
    }
}

fn reset_state(card: &Card, output: Output) -> Result<ExitCode> {
    match card.order(Operation::ResetEnclaveState)? {
        OperationReply::Done => {}
        _ => return Err(CardError::Unexpected.into()),
    }
    let shown = json!({ "ok": true });
    output.result(&shown, "the enclave's state is reset");
    Ok(ExitCode::SUCCESS)
}

fn status(places: Places, output: Output) -> Result<ExitCode> {
    let OperationReply::Enclave(shown) = places.clone().card().order(Operation::ShowEnclave)?
    else {
        return Err(CardError::Unexpected.into());
    };
    let card = shown.card.to_string();
    let verifier = ask_verifier(places, &card);
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let seen = Seen::of(&shown, verifier.as_ref().ok(), now_s);
    if let Err(error) = &verifier {
        eprintln!("bartizan: {error}");
    }
    output.result(&seen.json, &seen.text());
    Ok(match (seen.problems.is_empty(), verifier) {
        (false, _) => ExitCode::FAILURE,
        (true, Err(_)) => UNAVAILABLE.into(),
        (true, Ok(_)) => ExitCode::SUCCESS,
    })
}

/// What the verifier says of policies and of this host.
fn ask_verifier(places: Places, card: &str) -> Result<AtVerifier> {
    let verifier = places.verifier();
    let (path, name) = IN_FORCE;
    let set = verifier.ask("GET", &format!("{path}?limit=1"), None)?;
    let hosts = verifier.list(path, name)?;
    let mut hosts = hosts.as_array().into_iter().flatten();
    let host = hosts.find(|host| host["card"] == card);
    Ok(AtVerifier {
        set: set["number"].as_u64(),
        host: host.cloned().unwrap_or(Value::Null),
    })
}
