//! Frames between guests of which devices note what they write, beside guests of which they note nothing.

use std::sync::Arc;

use anyhow::{Result, ensure};
use bartizan_devices::decisions::Decisions;
use bartizan_devices::net::Fabric;
use bartizan_measuring::{Outcome, Samples, rounds};

use crate::decider::decide_for;
use crate::guest::Guest;
use crate::memory::round_of;
use crate::pair::Pair;
use crate::told::{ROUNDS, WARM_UP, computed, outcome};

/// Frames of one size.
pub(crate) fn run(case: &'static str, size: usize) -> Result<Outcome> {
    let (batch, batches) = round_of(size);
    let frames = u32::try_from(batches * usize::from(batch))?;
    let (fabric, decisions) = (Arc::new(Fabric::default()), Decisions::new());
    decide_for(&decisions)?;
    let guests = [Guest::logged(size)?, Guest::logged(size)?];
    let mut noted = Pair::of(guests, 1, size, 1, &fabric, &decisions)?;
    let mut unnoted = Pair::new(3, size, 1, &fabric, &decisions)?;
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    rounds(case, WARM_UP, ROUNDS, |counts| {
        let with = computed(|| (0..batches).try_for_each(|_| noted.move_frames(batch)))?;
        let without = computed(|| (0..batches).try_for_each(|_| unnoted.move_frames(batch)))?;
        // So that each round begins with none.
        ensure!(noted.take_notes()? > 0, "nothing was noted");
        if counts {
            ours.add(with / frames);
            theirs.add(without / frames);
        }
        Ok(())
    })?;
    Ok(outcome(
        case,
        0.95,
        "the same devices, which note nothing",
        &ours,
        &theirs,
    ))
}
