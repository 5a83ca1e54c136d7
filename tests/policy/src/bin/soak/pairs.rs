//! Sets of policies, one after the other, and what each decides.

use std::time::{Duration, Instant};

use anyhow::Result;
use bartizan_policy_tests::agreement::Subject;

use crate::drawn::Drawn;
use crate::smallest::{caught, smallest};
use crate::summary::Summary;

/// How often progress is told.
const BEAT: Duration = Duration::from_secs(10);

/// Compares so many pairs.
pub(crate) fn run(pairs: u64, seed: u64) -> Result<Summary> {
    let begun = Instant::now();
    let mut said = begun;
    let mut summary = Summary {
        seed,
        ..Summary::default()
    };
    let mut next = seed;
    while summary.pairs < pairs && summary.failure.is_none() {
        if let Err(at) = set(&Drawn::of(next)?, &mut summary) {
            summary.failure = Some(smallest(next, at)?);
        }
        next = next.wrapping_add(1);
        if said.elapsed() > BEAT {
            said = Instant::now();
            let (so_far, seconds) = (summary.pairs, begun.elapsed().as_secs());
            eprintln!("  \u{2026} {so_far} of {pairs} pairs after {seconds} s");
        }
    }
    summary.seconds = begun.elapsed().as_secs_f64();
    summary.ok = summary.failure.is_none() && summary.lacking().next().is_none();
    Ok(summary)
}

/// Compares all pairs of one set of policies; otherwise which trial fails, none where the policies do not compile.
fn set(drawn: &Drawn, summary: &mut Summary) -> Result<(), Option<usize>> {
    let (policies, guest) = (&drawn.policies, &drawn.guest);
    summary.policies(policies);
    let subject = caught(|| Subject::new(policies, guest)).map_err(|_| None)?;
    for (at, trial) in drawn.trials.iter().enumerate() {
        let decision = caught(|| trial.tried(&subject)).map_err(|_| Some(at))?;
        summary.pair(trial, &decision);
    }
    Ok(())
}
