//! `bartizan enclave`: the enclave of a host.

use std::process::ExitCode;

use anyhow::Result;
use bartizan_attestation::host::OperationReply;
use bartizan_attestation::operation::Operation;
use clap::Subcommand;
use serde_json::json;

use crate::card::{Card, CardError};
use crate::output::Output;

#[derive(Subcommand)]
pub(crate) enum Enclave {
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

pub(crate) fn run(command: Enclave, output: Output) -> Result<ExitCode> {
    let Enclave::ResetState { card } = command;
    match card.order(Operation::ResetEnclaveState)? {
        OperationReply::Done => {}
        _ => return Err(CardError::Unexpected.into()),
    }
    let shown = json!({ "ok": true });
    output.result(&shown, "the enclave's state is reset");
    Ok(ExitCode::SUCCESS)
}
