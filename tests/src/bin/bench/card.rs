//! What the card's keys, its boot and its links cost, each beside the bare primitive beneath it.

mod boots;
mod callers;
mod handshakes;
mod issuing;
mod primitives;
mod signing;
mod vaults;

use anyhow::Result;
use bartizan_measuring::{Better, Outcome, Part, Samples};

const SUITE: &str = "card";

/// Runs the cases whose name begins so.
pub(crate) fn run(wanted: &str) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for case in signing::CASES
        .iter()
        .filter(|case| case.name.starts_with(wanted))
    {
        outcomes.push(case.run()?);
    }
    for (name, run) in [
        (issuing::NAME, issuing::run as fn() -> Result<Outcome>),
        (handshakes::NAME, handshakes::run),
        (boots::NAME, boots::run),
    ] {
        if name.starts_with(wanted) {
            outcomes.push(run()?);
        }
    }
    Ok(outcomes)
}

/// What is held against what, each measured so often a round.
struct Compared {
    case: &'static str,
    unit: &'static str,
    /// What it is, and how long one takes.
    value: (&'static str, Samples),
    reference: (&'static str, Samples),
    goal: f64,
    rounds: usize,
}

impl Compared {
    /// As rates: the more the better.
    fn rates(self) -> Outcome {
        let [value, reference_value] =
            [&self.value.1, &self.reference.1].map(|samples| 1.0 / samples.median());
        let part = |(name, samples): &(&str, Samples)| Part {
            name: (*name).into(),
            milliseconds: samples.median() * 1e3,
            counted: true,
        };
        let mut own = part(&self.value);
        own.counted = false;
        Outcome {
            suite: SUITE,
            case: self.case,
            value,
            unit: self.unit,
            reference: self.reference.0,
            reference_value,
            ratio: value / reference_value,
            better: Better::Higher,
            goal: self.goal,
            rounds: self.rounds,
            spread: self.value.1.spread(),
            parts: vec![part(&self.reference), own],
        }
    }
}
