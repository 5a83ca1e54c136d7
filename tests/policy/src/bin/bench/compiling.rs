//! From a policy's text to what decides, against parsing the same text alone.

use anyhow::Result;
use bartizan_measuring::{Better, Outcome, Part, Samples, rounds, timed};
use bartizan_policy::{Compiled, Format, read};

use crate::SUITE;
use crate::workload::{guest, rules, yaml};

const WARM_UP: usize = 1;
const ROUNDS: usize = 15;

pub(crate) fn run(case: &'static str, count: u32) -> Result<Outcome> {
    let text = yaml(&rules(count));
    let guest = guest();
    let (mut whole, mut parsed) = (Samples::default(), Samples::default());
    let (mut reading, mut compiling) = (Samples::default(), Samples::default());
    rounds(case, WARM_UP, ROUNDS, |counts| {
        let alone = timed(|| Ok(serde_saphyr::from_str::<serde_json::Value>(&text)?))?;
        let mut policies = Vec::new();
        let read = timed(|| {
            policies.push(read(&text, Format::Yaml)?);
            Ok(())
        })?;
        let compiled = timed(|| Ok(Compiled::of(&policies, &guest)?))?;
        if counts {
            parsed.add(alone);
            reading.add(read);
            compiling.add(compiled);
            whole.add(read + compiled);
        }
        Ok(())
    })?;
    let milliseconds = |samples: &Samples| samples.median() * 1e3;
    let part = |name: &str, samples: &Samples, counted| Part {
        name: name.into(),
        milliseconds: milliseconds(samples),
        counted,
    };
    Ok(Outcome {
        suite: SUITE,
        case,
        value: milliseconds(&whole),
        unit: "ms",
        reference: "the same YAML, by the same parser, into values without a type",
        reference_value: milliseconds(&parsed),
        ratio: milliseconds(&whole) / milliseconds(&parsed),
        better: Better::Lower,
        goal: 3.0,
        rounds: ROUNDS,
        spread: whole.spread(),
        parts: vec![
            part("parsing alone", &parsed, true),
            part("reading into a policy", &reading, false),
            part("compiling the policy", &compiling, false),
        ],
    })
}
