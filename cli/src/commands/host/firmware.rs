//! `bartizan host firmware`: what a host's own firmware measured, event by event.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, Result};
use bartizan_attestation::boot::{Bank, FirmwareEvent, FirmwareLog, FirmwareLogError, Sha384};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::output::Output;
use crate::verifier::{Verifier, segment};

/// What the verifier has of a host.
#[derive(Debug, Deserialize)]
pub(crate) struct Shown {
    pcrs: BTreeMap<u8, String>,
    log: String,
    shown_at_ms: u64,
    reference: Option<Reference>,
}

#[derive(Debug, Deserialize)]
struct Reference {
    id: String,
    name: String,
}

/// What the verifier says of a host's firmware cannot be believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FirmwareError {
    /// It is no such answer.
    #[error(
        "the verifier's answer is not what a host shows of its firmware: {0}; see that this tool is of its version"
    )]
    Answer(#[from] serde_json::Error),
    /// A value or the log is not what it should be.
    #[error(
        "the verifier's answer has no {0} where it should; see that this tool is of its version"
    )]
    Field(&'static str),
    /// The log is none, or does not replay.
    #[error(transparent)]
    Log(#[from] FirmwareLogError),
}

impl Shown {
    /// Of a host, by its card id.
    pub(crate) fn of(host: &str, verifier: &Verifier) -> Result<Self> {
        let path = format!("/v1/hosts/{}/firmware", segment(host));
        let answer = verifier.ask("GET", &path, None)?;
        Ok(serde_json::from_value(answer).map_err(FirmwareError::from)?)
    }

    /// The log's bytes.
    fn log(&self) -> Result<Vec<u8>, FirmwareError> {
        let log = B64.decode(&self.log);
        log.map_err(|_| FirmwareError::Field("event log in base64url"))
    }

    /// What the TPM has quoted.
    fn quoted(&self) -> Result<BTreeMap<u8, Sha384>, FirmwareError> {
        let values = self.pcrs.iter();
        let values = values.map(|(pcr, value)| Some((*pcr, value.parse().ok()?)));
        let values: Option<_> = values.collect();
        values.ok_or(FirmwareError::Field("SHA-384 digest"))
    }

    /// The values of some PCRs, checked against the log.
    pub(crate) fn values(&self, pcrs: &[u8]) -> Result<BTreeMap<u8, String>> {
        let (log, quoted) = (self.log()?, self.quoted()?);
        FirmwareLog::parse(&log)
            .map_err(FirmwareError::from)?
            .explains(&quoted)
            .map_err(FirmwareError::from)?;
        let value = |pcr: &u8| {
            let value = self.pcrs.get(pcr).cloned();
            let value = value.with_context(|| {
                format!("the host's quote has no PCR {pcr}; name it in `host_pcrs` or `quoted_pcrs` of its vault's configuration")
            })?;
            Ok((*pcr, value))
        };
        pcrs.iter().map(value).collect()
    }
}

pub(super) fn show(host: &str, verifier: &Verifier, output: Output) -> Result<ExitCode> {
    let shown = Shown::of(host, verifier)?;
    let (bytes, quoted) = (shown.log()?, shown.quoted()?);
    // Here, too: what is drawn is what replays.
    let log = FirmwareLog::parse(&bytes).map_err(FirmwareError::from)?;
    log.explains(&quoted).map_err(FirmwareError::from)?;
    output.result(&value(&shown, &log), &drawing(&shown, &log));
    Ok(ExitCode::SUCCESS)
}

fn value(shown: &Shown, log: &FirmwareLog<'_>) -> Value {
    let event = |event: &FirmwareEvent<'_>| {
        json!({
            "pcr": event.pcr, "type": event.event_type.to_string(), "sha384": sha384(event),
            "data": event.description(), "data_measured": event.is_data_measured(),
            "quoted": is_quoted(shown, event),
        })
    };
    let reference = shown.reference.as_ref();
    json!({
        "ok": true, "pcrs": shown.pcrs, "shown_at_ms": shown.shown_at_ms,
        "reference": reference.map(|reference| json!({ "id": reference.id, "name": reference.name })),
        "events": log.events().iter().map(event).collect::<Vec<_>>(),
    })
}

fn drawing(shown: &Shown, log: &FirmwareLog<'_>) -> String {
    let mut lines = vec!["PCR  TYPE                              SHA-384           OF".to_owned()];
    for event in log.events().iter().filter(|event| is_quoted(shown, event)) {
        let digest = sha384(event).unwrap_or_default();
        let digest = digest.get(..16).unwrap_or(&digest);
        let believed = if event.is_data_measured() {
            ""
        } else {
            "said to be "
        };
        let (pcr, kind) = (event.pcr, event.event_type.to_string());
        let data = event.description();
        lines.push(format!("{pcr:<3}  {kind:<32}  {digest}  {believed}{data}"));
    }
    lines.push(String::new());
    let values = shown.pcrs.iter();
    lines.extend(values.map(|(pcr, value)| format!("PCR {pcr:<2} {value}")));
    lines.push("the log replays to these PCRs, as the host's TPM has quoted them".into());
    lines.push(match &shown.reference {
        Some(reference) => format!("they are those of the reference `{}`, {}", reference.name, reference.id),
        None => "they are those of no reference in force; `bartizan firmware register` makes one of them".into(),
    });
    lines.join("\n")
}

/// Whether the TPM's word covers it.
fn is_quoted(shown: &Shown, event: &FirmwareEvent<'_>) -> bool {
    let pcr = u8::try_from(event.pcr);
    event.event_type.is_extended() && pcr.is_ok_and(|pcr| shown.pcrs.contains_key(&pcr))
}

fn sha384(event: &FirmwareEvent<'_>) -> Option<String> {
    event.digest(Bank::Sha384).map(hex::encode)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A real machine's.
    const OVMF: &[u8] = include_bytes!("../../../../trust/boot/firmware-logs/ovmf.log");

    fn shown() -> Shown {
        let log = FirmwareLog::parse(OVMF).unwrap();
        let replayed = log.replay(Bank::Sha384).unwrap();
        let pcrs = [0, 4, 7].map(|pcr| (pcr, replayed[&pcr].to_string()));
        Shown {
            pcrs: pcrs.into(),
            log: B64.encode(OVMF),
            shown_at_ms: 1,
            reference: None,
        }
    }

    #[test]
    fn events_of_quoted_pcrs_are_drawn_and_what_their_digests_do_not_cover_is_said_to_be() {
        let log = FirmwareLog::parse(OVMF).unwrap();
        let drawing = drawing(&shown(), &log);
        let line = |start: &str| {
            let mut lines = drawing.lines();
            let found = lines.find(|line| line.starts_with(start));
            found.unwrap_or_else(|| panic!("no `{start}` in {drawing}"))
        };
        assert!(line("7    EV_EFI_VARIABLE_DRIVER_CONFIG").ends_with("  SecureBoot"));
        assert!(line("0    EV_EFI_PLATFORM_FIRMWARE_BLOB").contains("said to be "));
        assert!(!drawing.contains("\n1 "), "{drawing}");
        let value = value(&shown(), &log);
        assert_eq!(
            value["events"].as_array().unwrap().len(),
            log.events().len()
        );
        assert_eq!(value["pcrs"]["0"], shown().pcrs[&0].as_str());
    }

    #[test]
    fn values_are_of_a_log_that_replays_only() {
        let mut shown = shown();
        assert_eq!(shown.values(&[0, 7]).unwrap().len(), 2);
        let missing = shown.values(&[0, 1]).unwrap_err().to_string();
        assert!(missing.contains("PCR 1"), "{missing}");
        shown.pcrs.insert(7, Sha384::ZERO.to_string());
        let refused = shown.values(&[0]).unwrap_err().to_string();
        assert!(refused.contains("does not replay to PCR 7"), "{refused}");
    }
}
