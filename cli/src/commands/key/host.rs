//! The keys of a host, by its card.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use bartizan_attestation::certificates::{FleetCa, Usage, verify_chain};
use bartizan_attestation::host::{KeysShown, OperationReply, OperatorReply, ReportKeyRotated};
use bartizan_attestation::keys::{KeyDescription, KeyEvent, KeyEventKind, KeyKind, Purpose};
use bartizan_attestation::operation::{Operation, RotatableKey};
use serde_json::{Value, json};

use crate::card::{Card, CardError};

/// The keys of its vault, a row each.
pub(super) fn list(card: &Card) -> Result<Value> {
    let OperationReply::Keys(shown) = card.order(Operation::ListKeys)? else {
        return Err(CardError::Unexpected.into());
    };
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    Ok(rows(&shown, &card.fleet_ca()?, now_s))
}

/// What became of them, a row each.
pub(super) fn history(card: &Card) -> Result<Value> {
    let OperationReply::KeyHistory(events) = card.order(Operation::KeyHistory)? else {
        return Err(CardError::Unexpected.into());
    };
    Ok(events.iter().map(event).collect())
}

pub(super) fn rotate(card: &Card, key: RotatableKey) -> Result<Value> {
    match card.order(Operation::RotateKeys { key })? {
        OperationReply::Done => Ok(json!({ "kind": key.name() })),
        _ => Err(CardError::Unexpected.into()),
    }
}

pub(super) fn rotate_report_key(card: &Card, vm: String) -> Result<Value> {
    let OperatorReply::ReportKeyRotated(ReportKeyRotated { new, destroyed }) =
        card.guests(Operation::RotateReportKey { vm })?
    else {
        return Err(CardError::Unexpected.into());
    };
    let destroyed = destroyed.map(|id| hex(&*id));
    Ok(json!({ "kind": "report", "id": hex(&*new), "destroyed": destroyed }))
}

fn rows(shown: &KeysShown, fleet_ca: &FleetCa, now_s: u64) -> Value {
    let keys = shown.keys.iter().enumerate();
    let row = |(at, key): (usize, &KeyDescription)| {
        let later = shown.keys.iter().skip(at + 1);
        // One that waits for its first certificate is not in use yet.
        let in_use = |key: &KeyDescription| !key.chain.is_empty();
        let mut later = later.filter(|later| in_use(later));
        let current = in_use(key) && later.all(|later| later.purpose != key.purpose);
        let chain: Vec<_> = key.chain.iter().map(|der| der.to_vec()).collect();
        let verified = usage(key.purpose).map(|usage| verify_chain(&chain, fleet_ca, now_s, usage));
        let mut row = json!({
            "kind": KeyKind::from(key.purpose).name(), "id": hex(&*key.id), "current": current,
            "vault": shown.vault.name(),
        });
        match verified {
            Some(Ok(certificate)) => {
                row["not_before"] = certificate.not_before.into();
                row["not_after"] = certificate.not_after.into();
            }
            Some(Err(error)) => row["refused"] = error.to_string().into(),
            None => {}
        }
        row
    };
    keys.map(row).collect()
}

/// What a host's keys are certified for.
const fn usage(purpose: Purpose) -> Option<Usage> {
    match purpose {
        Purpose::CardIdentity => Some(Usage::Card),
        Purpose::TlsClient => Some(Usage::TlsClient),
        Purpose::FleetCa | Purpose::TlsServer | Purpose::Token => None,
    }
}

/// As the verifier's API has it.
fn event(event: &KeyEvent) -> Value {
    let mut row = json!({
        "number": event.number, "at_s": event.at_s, "kind": event.kind.name(), "id": hex(&*event.id),
        "event": event.what.word(),
    });
    match &event.what {
        KeyEventKind::Certified {
            certificate,
            not_after,
        } => {
            row["certificate"] = hex(&**certificate).into();
            row["not_after"] = (*not_after).into();
        }
        KeyEventKind::Superseded { by } => row["by"] = hex(&**by).into(),
        KeyEventKind::NotDestroyed { why } => row["why"] = why.clone().into(),
        KeyEventKind::Made | KeyEventKind::Destroyed | KeyEventKind::Revoked => {}
    }
    row
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
