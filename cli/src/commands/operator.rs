//! `bartizan operator`: this machine's operator credentials.

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use serde_json::json;

use crate::fleet_ca;
use crate::operator::Credentials;
use crate::output::Output;
use crate::verifier::Verifier;

#[derive(Subcommand)]
pub(crate) enum Operator {
    /// Make a key, if there is none, and a certification request for it.
    #[command(after_help = "Example: bartizan operator request --operator ~/.bartizan")]
    Request {
        #[command(flatten)]
        credentials: Credentials,
    },
    /// Trust the fleet's present CA from now on, where it took the place of the one in this folder.
    ///
    /// It is followed over cross-certificates only, each of which leads on from the one that is trusted so far; that one is kept
    /// beside it.
    #[command(after_help = "Example: bartizan operator roll-fleet-ca --operator ~/.bartizan")]
    RollFleetCa {
        #[command(flatten)]
        verifier: Verifier,
    },
    /// SHA-256 of the fleet CA certificate, as launch records want it.
    #[command(after_help = "Example: bartizan operator anchor --operator ~/.bartizan")]
    Anchor {
        #[command(flatten)]
        credentials: Credentials,
    },
}

pub(crate) fn run(command: Operator, output: Output) -> Result<ExitCode> {
    match command {
        Operator::Request { credentials } => {
            let csr = credentials.certificate_path().with_extension("csr");
            std::fs::write(&csr, credentials.request()?)?;
            // What a vault's configuration names further operators by.
            let key_sha256 = hex::encode(credentials.key()?.public_key().sha256());
            let sentence = format!(
                "certification request at {}; SHA-256 of the key: {key_sha256}",
                csr.display()
            );
            let result = json!({ "ok": true, "csr": csr, "key_sha256": key_sha256 });
            output.result(&result, &sentence);
        }
        Operator::RollFleetCa { verifier } => {
            let told = verifier.ask("GET", "/v1/fleet-ca", None)?;
            let rolled = fleet_ca::roll(&verifier.credentials.fleet_ca_path(), &told)?;
            output.result(&rolled, &fleet_ca::sentence(&rolled));
        }
        Operator::Anchor { credentials } => {
            let anchor = hex::encode(credentials.fleet_ca()?.sha256());
            output.result(&json!({ "fleet_ca_sha256": anchor }), &anchor);
        }
    }
    Ok(ExitCode::SUCCESS)
}
