//! What the enclave states of itself: signed by it, verified and kept by the verifier, under numbers that go on over each restart of either.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bartizan_tests::enrolled::Enrolled;
use bartizan_tests::network::{SOON, pages_only};
use serde_json::{Value, json};

use super::Networked;
use super::remembered::started_again;
use crate::world::World;

/// What was acknowledged is there whoever is killed; no number is given twice, none is missing, and all is believed.
pub(super) fn outlasts_restarts(world: &mut World) -> Result<()> {
    let mut networked = world.networked()?;
    let card = Enrolled::of(networked.web)?.guest.card.to_string();
    let mut known = denied_and_ruled(&mut networked, &card, &[])?;
    started_again(&mut networked)?;
    known = denied_and_ruled(&mut networked, &card, &known)?;
    networked.stack.verifier.kill()?;
    networked.stack.verifier.start_again()?;
    known = denied_and_ruled(&mut networked, &card, &known)?;
    // Both at once, as a host's power fails.
    networked.stack.verifier.kill()?;
    started_again(&mut networked)?;
    networked.stack.verifier.start_again()?;
    known = denied_and_ruled(&mut networked, &card, &known)?;
    let starts = known.iter().flat_map(events);
    let starts = starts.filter(|event| event["event"] == "started").count();
    ensure!(starts >= 2, "{starts} starts in {known:#?}");
    Ok(())
}

/// Has something denied, and another set of policies in force, and waits until both are stated after what is known: answers all that is
/// stated by then.
fn denied_and_ruled(
    networked: &mut Networked<'_>,
    card: &str,
    known: &[Value],
) -> Result<Vec<Value>> {
    networked.apply(&pages_only())?;
    ensure!(!networked.echo()?, "an echo, which no rule allows");
    networked.apply(&json!([]))?;
    let began = Instant::now();
    loop {
        let stated = stated(networked, card)?;
        let new: Vec<_> = stated.iter().skip(known.len()).flat_map(events).collect();
        let has = |event: &str| new.iter().any(|of| of["event"] == event);
        if has("denied") && has("in-force") {
            ensure!(
                stated.starts_with(known),
                "what was acknowledged is another: {known:#?}, then {stated:#?}"
            );
            return Ok(stated);
        }
        ensure!(began.elapsed() < SOON, "it is not stated: {stated:#?}");
    }
}

/// All that the enclave has stated since its state began, the oldest first; none is missing or refused.
fn stated(networked: &Networked<'_>, card: &str) -> Result<Vec<Value>> {
    let operator = &networked.stack.operator;
    let listed = operator.must(&["enclave", "evidence", card, "--limit", "1000"])?;
    let mut pieces = listed.as_array().context("a list")?.clone();
    pieces.reverse();
    let source = pieces.last().map(|last| last["source"].clone());
    pieces.retain(|piece| Some(&piece["source"]) == source.as_ref());
    // The verifier keeps the newest.
    let first = pieces.first().and_then(|first| first["sequence"].as_u64());
    for (due, piece) in (first.unwrap_or(1)..).zip(&pieces) {
        ensure!(piece["sequence"] == due, "{due} is due: {pieces:#?}");
        ensure!(piece["refused"].is_null(), "{piece}");
    }
    Ok(pieces)
}

fn events(piece: &Value) -> impl Iterator<Item = &Value> {
    piece["events"].as_array().into_iter().flatten()
}
