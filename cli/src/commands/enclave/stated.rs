//! `bartizan enclave evidence`: what an enclave stated, as the verifier has it.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::Value;

use crate::listing;
use crate::output::Output;
use crate::utc::utc;
use crate::verifier::{Verifier, segment};

/// Most pieces that are asked for at once.
const PAGE: u32 = 1000;

pub(super) fn show(
    card: &str,
    limit: u32,
    verifier: &Verifier,
    output: Output,
) -> Result<ExitCode> {
    let path = format!(
        "/v1/hosts/{}/evidence?limit={}",
        segment(card),
        limit.min(PAGE)
    );
    let most = usize::try_from(limit)?;
    let pieces = listing::rows(&path, "evidence", None, most, |page| {
        verifier.ask("GET", page, None)
    })?;
    output.result(&pieces, &text(&pieces));
    let mut pieces = pieces.as_array().into_iter().flatten();
    Ok(match pieces.any(|piece| !piece["refused"].is_null()) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// For people: a line for each event, the newest piece first.
fn text(pieces: &Value) -> String {
    let mut lines = Vec::new();
    for piece in pieces.as_array().into_iter().flatten() {
        let number = &piece["sequence"];
        if let Some(why) = piece["refused"].as_str() {
            let at = utc(piece["received_at_ms"].as_u64().unwrap_or_default());
            lines.push(format!("{at}  #{number}  ✗ not believed: {why}"));
            continue;
        }
        for event in piece["events"].as_array().into_iter().flatten() {
            let at = event["at"].as_u64().unwrap_or_default();
            let at = utc(at.saturating_mul(1000));
            lines.push(format!("{at}  #{number}  {}", said(event)));
        }
        if let Some(dropped @ 1..) = piece["dropped"].as_u64() {
            lines.push(format!(
                "                      #{number}  {dropped} events more, of which there was no room to tell"
            ));
        }
    }
    if lines.is_empty() {
        return "the enclave of this host has stated nothing yet".into();
    }
    lines.join("\n")
}

fn said(event: &Value) -> String {
    let word = |name: &str| event[name].as_str().unwrap_or("?").to_owned();
    let guest = || format!("guest {} (boot {})", word("vm"), event["boot"]);
    match event["event"].as_str().unwrap_or_default() {
        "started" => match event["set"].as_u64() {
            Some(set) => format!("the enclave started; set {set} rules"),
            None => "the enclave started; everything is denied".into(),
        },
        "in-force" => format!(
            "every packet is judged by set {} ({})",
            event["set"],
            word("digest").get(..16).unwrap_or("?")
        ),
        "set-refused" => format!("set {} was refused: {}", event["set"], word("why")),
        "isolation" if event["isolated"] == true => {
            format!("VM {} was isolated, order {}", word("vm"), event["order"])
        }
        "isolation" => format!("VM {} was released, order {}", word("vm"), event["order"]),
        "trust" => format!("{} is taken for: {}", guest(), word("taken_for")),
        "denied" => format!(
            "{}: {} decisions denied flows, by {}",
            guest(),
            event["decisions"],
            word("by")
        ),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::text;

    #[test]
    fn each_event_is_a_line() {
        let vm = "00000000-0000-0000-0000-000000000001";
        let pieces = json!([
            { "sequence": 3, "refused": "the evidence does not follow the piece before it",
              "received_at_ms": 1_795_325_061_999_u64, "events": [] },
            { "sequence": 2, "refused": null, "dropped": 4, "events": [
                { "at": 1_795_325_061, "event": "denied", "vm": vm, "boot": 2, "decisions": 9, "by": "web/only" },
                { "at": 1_795_325_062, "event": "isolation", "vm": vm, "isolated": true, "order": 7 },
            ]},
            { "sequence": 1, "refused": null, "dropped": 0, "events": [
                { "at": 1_795_325_061, "event": "started", "set": null },
                { "at": 1_795_325_061, "event": "in-force", "set": 5, "digest": "0123456789abcdef0123" },
                { "at": 1_795_325_061, "event": "trust", "vm": vm, "boot": 2, "taken_for": "affirming" },
                { "at": 1_795_325_061, "event": "set-refused", "set": 4, "why": "older" },
            ]},
        ]);
        let text = text(&pieces);
        for line in [
            "2026-11-22T05:24:21Z  #3  ✗ not believed: the evidence does not follow the piece before it",
            &format!(
                "2026-11-22T05:24:21Z  #2  guest {vm} (boot 2): 9 decisions denied flows, by web/only"
            ),
            &format!("2026-11-22T05:24:22Z  #2  VM {vm} was isolated, order 7"),
            "                      #2  4 events more, of which there was no room to tell",
            "2026-11-22T05:24:21Z  #1  the enclave started; everything is denied",
            "2026-11-22T05:24:21Z  #1  every packet is judged by set 5 (0123456789abcdef)",
            "2026-11-22T05:24:21Z  #1  set 4 was refused: older",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(super::text(&json!([])).contains("nothing yet"));
    }
}
