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
    let (text, is_whole) = text(&pieces);
    output.result(&pieces, &text);
    Ok(match is_whole {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// For people: a line for each event, the newest piece first; and whether all pieces between the first and the last are there, and believed.
fn text(pieces: &Value) -> (String, bool) {
    let mut lines = Vec::new();
    let mut is_whole = true;
    let mut newer: Option<&Value> = None;
    for piece in pieces.as_array().into_iter().flatten() {
        let number = &piece["sequence"];
        match newer.replace(piece) {
            Some(newer) if newer["source"] != piece["source"] => {
                lines.push("  the state was reset: what is below has numbers of its own".into());
            }
            Some(newer) => {
                let due = newer["sequence"].as_u64().unwrap_or_default() - 1;
                let found = number.as_u64().unwrap_or_default();
                if found < due {
                    lines.push(format!("  ✗ #{} to #{due} are missing", found + 1));
                    is_whole = false;
                }
            }
            None => {}
        }
        if let Some(why) = piece["refused"].as_str() {
            let at = utc(piece["received_at_ms"].as_u64().unwrap_or_default());
            lines.push(format!("{at}  #{number}  ✗ not believed: {why}"));
            is_whole = false;
            continue;
        }
        if piece["events"].as_array().is_none_or(Vec::is_empty) {
            let at = piece["issued_at"].as_u64().unwrap_or_default();
            let at = utc(at.saturating_mul(1000));
            lines.push(format!("{at}  #{number}  nothing happened"));
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
        lines.push("the enclave of this host has stated nothing yet".into());
    }
    (lines.join("\n"), is_whole)
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
        let (text, is_whole) = text(&pieces);
        assert!(!is_whole);
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
        let (nothing, is_whole) = super::text(&json!([]));
        assert!(is_whole && nothing.contains("nothing yet"));
    }

    #[test]
    fn what_is_missing_is_said() {
        let piece = |source: &str, sequence: u64| json!({ "source": source, "sequence": sequence, "refused": null, "dropped": 0, "issued_at": 1_795_325_061, "events": [] });
        let (text, is_whole) = text(&json!([
            piece("b", 1),
            piece("a", 9),
            piece("a", 8),
            piece("a", 5)
        ]));
        assert!(!is_whole);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[1].contains("was reset"));
        assert_eq!(lines[4], "  ✗ #6 to #7 are missing");
        assert_eq!(lines.len(), 6);
        let (_, is_whole) = super::text(&json!([piece("b", 1), piece("a", 9), piece("a", 8)]));
        assert!(is_whole);
    }
}
