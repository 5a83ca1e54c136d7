//! Many flows against one, all of them allowed, each frame of another flow than the one before.

use std::sync::Arc;

use anyhow::Result;
use bartizan_devices::decisions::Decisions;
use bartizan_devices::net::Fabric;
use bartizan_measuring::{Outcome, Samples, rounds};

use crate::decider::decide_for;
use crate::pair::Pair;
use crate::told::{ROUNDS, WARM_UP, computed, outcome};

/// Bytes of a frame.
const SIZE: usize = 64;
/// Frames that a device takes in one turn.
const BATCH: u16 = 128;
/// Flows that one guest may have with one other; see `Limits`.
const OF_PAIR: u16 = 12_000;
/// Rounds of what takes seconds.
const FEWER: usize = 7;

pub(crate) fn ten_thousand(case: &'static str, goal: f64) -> Result<Outcome> {
    let reference = "one flow between the same two guests";
    run(case, goal, (1, 10_000), ROUNDS, reference)
}

/// More than any guest may have: they are those of 84 pairs of guests, who take turns.
pub(crate) fn million(case: &'static str, goal: f64) -> Result<Outcome> {
    let reference = "one flow between each of the same 84 pairs of guests";
    run(case, goal, (84, OF_PAIR), FEWER, reference)
}

fn run(
    case: &'static str,
    goal: f64,
    (pairs, flows): (u16, u16),
    often: usize,
    reference: &'static str,
) -> Result<Outcome> {
    let (mut many, mut one) = (of(pairs, flows)?, of(pairs, 1)?);
    // Each flow has a frame in each round.
    let turns = flows.div_ceil(BATCH);
    let times = if pairs == 1 { 16 } else { 1 };
    let frames = u32::from(pairs) * u32::from(turns) * u32::from(BATCH) * times;
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    rounds(case, WARM_UP, often, |counts| {
        let measure = |pairs: &mut [Pair]| {
            computed(|| {
                for _ in 0..u32::from(turns) * times {
                    for pair in &mut *pairs {
                        pair.move_frames(BATCH)?;
                    }
                }
                Ok(())
            })
        };
        let (of_many, of_one) = (measure(&mut many)?, measure(&mut one)?);
        if counts {
            ours.add(of_many / frames);
            theirs.add(of_one / frames);
        }
        Ok(())
    })?;
    Ok(Outcome {
        rounds: often,
        ..outcome(case, goal, reference, &ours, &theirs)
    })
}

fn of(pairs: u16, flows: u16) -> Result<Vec<Pair>> {
    let (fabric, decisions) = (Arc::new(Fabric::default()), Decisions::new());
    decide_for(&decisions)?;
    let numbers = (0..pairs).map(|pair| 1 + 2 * pair);
    numbers
        .map(|number| Pair::new(number, SIZE, flows, &fabric, &decisions))
        .collect()
}
