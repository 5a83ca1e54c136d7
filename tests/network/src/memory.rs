//! Frames from one guest's memory to another's on one core, judged and not.

use std::sync::Arc;

use anyhow::{Result, ensure};
use bartizan_devices::decisions::Decisions;
use bartizan_devices::net::Fabric;
use bartizan_measuring::{Outcome, Samples, rounds};

use crate::decider::decide_for;
use crate::frame::{data, interface};
use crate::guest::Guest;
use crate::pair::Pair;
use crate::told::{ROUNDS, WARM_UP, computed, outcome};
use crate::unjudged::Unjudged;

/// Bytes in a round, about; and most frames.
const BYTES: usize = 256 << 20;
const MOST: usize = 200_000;

/// How many frames of that size are moved at a time, as many as fit an inbox, and how often in a round.
pub(crate) fn round_of(size: usize) -> (u16, usize) {
    let batch: u16 = if size > 1514 { 32 } else { 128 };
    (batch, (BYTES / size).min(MOST) / usize::from(batch))
}

/// Frames of one size.
pub(crate) fn run(case: &'static str, size: usize) -> Result<Outcome> {
    let (batch, batches) = round_of(size);
    let frames = u32::try_from(batches * usize::from(batch))?;
    let (fabric, decisions) = (Arc::new(Fabric::default()), Decisions::new());
    decide_for(&decisions)?;
    let mut judged = Pair::new(1, size, 1, &fabric, &decisions)?;
    let mut unjudged = Unjudged::new(Guest::new(size)?, Guest::new(size)?)?;
    unjudged.from.prepare(&data(1, 2, size))?;
    let mtu = interface(1).mtu;
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    rounds(case, WARM_UP, ROUNDS, |counts| {
        let with = computed(|| (0..batches).try_for_each(|_| judged.move_frames(batch)))?;
        let without = computed(|| {
            for _ in 0..batches {
                unjudged.from.send(batch, &mut std::iter::repeat(1024))?;
                unjudged.turn(mtu)?;
                let (received, out) = (unjudged.to.receive()?, unjudged.from.sent()?);
                ensure!(
                    (received, out) == (batch, 0),
                    "{received} frames arrived, {out} were not taken"
                );
            }
            Ok(())
        })?;
        if counts {
            ours.add(with / frames);
            theirs.add(without / frames);
        }
        Ok(())
    })?;
    Ok(outcome(
        case,
        0.9,
        "the same rings, copies, reading of headers and inbox, with nobody who judges",
        &ours,
        &theirs,
    ))
}
