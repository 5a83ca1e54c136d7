//! `bartizan host attest`: a host proves its boot to the verifier.

use std::process::ExitCode;

use anyhow::Result;
use bartizan_attestation::host::{AcceptedBoot, AcceptedRelease, OperationReply};
use bartizan_attestation::operation::{Operation, OperationRefusal};
use serde_json::{Value, json};

use crate::card::{Card, CardError};
use crate::output::Output;

/// Has it do so, and shows what the verifier said.
pub(super) fn run(card: &Card, output: Output) -> Result<ExitCode> {
    let refused = match card.order(Operation::AttestHost) {
        Ok(OperationReply::Attested(accepted)) => {
            output.result(&value(&accepted), &drawing(&accepted));
            return Ok(ExitCode::SUCCESS);
        }
        Ok(_) => return Err(CardError::Unexpected.into()),
        Err(error) => error,
    };
    let Some(CardError::Refused(OperationRefusal::HostRefused { kind, detail })) =
        refused.downcast_ref()
    else {
        return Err(refused);
    };
    let shown = json!({ "ok": false, "accepted": false, "problem": kind, "detail": detail });
    output.result(&shown, &format!("refused ({kind}): {detail}"));
    Ok(ExitCode::FAILURE)
}

fn value(accepted: &AcceptedBoot) -> Value {
    let release = |part: &str, release: &AcceptedRelease| json!({ "part": part, "version": release.version, "manifest": release.manifest.to_string() });
    json!({
        "ok": true, "accepted": true,
        "releases": [release("base", &accepted.base), release("bundle", &accepted.bundle)],
        "phase": accepted.phase.number(), "quoted": accepted.quoted, "firmware": accepted.firmware,
    })
}

fn drawing(accepted: &AcceptedBoot) -> String {
    let release = |part: &str, release: &AcceptedRelease| {
        format!(
            "{part} version {}, manifest {}",
            release.version, release.manifest
        )
    };
    let quoted = if accepted.quoted {
        "the host's TPM has quoted it"
    } else {
        "no TPM has quoted it: this host has enrolled without one"
    };
    let mut lines = vec![
        format!(
            "accepted: phases 1 to {} of a boot of",
            accepted.phase.number()
        ),
        release("base", &accepted.base),
        release("bundle", &accepted.bundle),
        quoted.into(),
    ];
    if let Some(name) = &accepted.firmware {
        lines.push(format!("its firmware is that of the reference `{name}`"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use bartizan_attestation::boot::{Phase, Sha384};

    use super::*;

    #[test]
    fn an_accepted_boot_is_shown_by_its_releases() {
        let release = |version| AcceptedRelease {
            manifest: Sha384::of(b"a manifest"),
            version,
        };
        let mut accepted = AcceptedBoot {
            base: release(3),
            bundle: release(4),
            phase: Phase::Enclave,
            quoted: true,
            firmware: Some("OVMF".into()),
        };
        let drawn = drawing(&accepted);
        for said in [
            "phases 1 to 5",
            "base version 3",
            "bundle version 4",
            "TPM has quoted",
            "`OVMF`",
        ] {
            assert!(drawn.contains(said), "{said}: {drawn}");
        }
        assert_eq!(value(&accepted)["releases"][1]["part"], "bundle");
        (accepted.quoted, accepted.firmware) = (false, None);
        let drawn = drawing(&accepted);
        assert!(
            drawn.contains("no TPM") && !drawn.contains("firmware"),
            "{drawn}"
        );
    }
}
