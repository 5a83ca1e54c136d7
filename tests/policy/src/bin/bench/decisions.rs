//! The median time of a decision.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Result, ensure};
use bartizan_measuring::{Better, Outcome, Part, Samples, rounds};
use bartizan_policy::{Compiled, Effect, Format, Request, read};

use crate::SUITE;
use crate::cedar::Cedar;
use crate::rego::Rego;
use crate::workload::{Asked, Rule, guest, requests, rules, yaml};

const WARM_UP: usize = 2;
const ROUNDS: usize = 21;
/// Decisions that are timed together, each on another request: the clock itself takes a good part of one.
const TOGETHER: usize = 32;
/// How often all requests are decided in a round.
const PASSES: usize = 8;
/// Requests that a slower engine decides in a round.
const OTHERS: usize = 64;

/// Rules, their requests, and what is decided of these.
struct Trial {
    rules: Vec<Rule>,
    asked: Vec<Asked>,
    compiled: Compiled,
}

impl Trial {
    fn new(count: u32) -> Result<Self> {
        let rules = rules(count);
        let policy = read(&yaml(&rules), Format::Yaml)?;
        Ok(Self {
            asked: requests(&rules),
            compiled: Compiled::of(&[policy], &guest())?,
            rules,
        })
    }

    fn requests(&self) -> Vec<Request<'_>> {
        self.asked.iter().map(Asked::request).collect()
    }

    /// That another engine decides all requests alike.
    fn agrees(&self, mut allows: impl FnMut(usize) -> Result<bool>) -> Result<()> {
        let (mut allowed, requests) = (0, self.requests());
        for (place, request) in requests.iter().enumerate() {
            let decision = self.compiled.decide(request);
            let allow = decision.effect == Effect::Allow;
            let other = allows(place)?;
            ensure!(
                other == allow,
                "request {place}, {request:?}: {decision:?}, the other engine says {other}"
            );
            allowed += usize::from(allow);
        }
        // Else it might be that nobody decides anything.
        let many = requests.len() / 8;
        ensure!(
            (many..requests.len() - many).contains(&allowed),
            "{allowed} of {} requests are allowed",
            requests.len()
        );
        Ok(())
    }
}

/// Decides all requests some times over.
fn decide(compiled: &Compiled, requests: &[Request<'_>], samples: &mut Samples) -> Result<()> {
    for _ in 0..PASSES {
        for together in requests.chunks_exact(TOGETHER) {
            let begun = Instant::now();
            for request in together {
                black_box(compiled.decide(black_box(request)));
            }
            samples.add(begun.elapsed() / u32::try_from(TOGETHER)?);
        }
    }
    Ok(())
}

/// Has a slower engine decide some of the requests.
fn others(
    round: usize,
    samples: &mut Samples,
    mut allows: impl FnMut(usize) -> Result<bool>,
) -> Result<()> {
    for place in 0..OTHERS {
        let place = (round * OTHERS + place) % crate::workload::REQUESTS;
        let begun = Instant::now();
        black_box(allows(black_box(place))?);
        samples.add(begun.elapsed());
    }
    Ok(())
}

pub(crate) fn against_cedar(case: &'static str, count: u32, goal: f64) -> Result<Outcome> {
    let trial = Trial::new(count)?;
    let cedar = Cedar::new(&trial.rules, &trial.asked)?;
    cedar.check()?;
    trial.agrees(|place| cedar.allows(place))?;
    let requests = trial.requests();
    let (mut ours, mut theirs, mut round) = (Samples::default(), Samples::default(), 0);
    rounds(case, WARM_UP, ROUNDS, |counts| {
        let (mut one, mut other) = (Samples::default(), Samples::default());
        decide(&trial.compiled, &requests, &mut one)?;
        others(round, &mut other, |place| cedar.allows(place))?;
        round += 1;
        if counts {
            ours.extend(one);
            theirs.extend(other);
        }
        Ok(())
    })?;
    Ok(outcome(
        case,
        goal,
        &ours,
        "Authorizer::is_authorized of cedar-policy, the same rules and requests",
        &[("cedar-policy", &theirs, true)],
    ))
}

pub(crate) fn against_regorus(case: &'static str, count: u32) -> Result<Outcome> {
    let trial = Trial::new(count)?;
    let mut rego = Rego::new(&trial.rules, &trial.asked)?;
    rego.check()?;
    trial.agrees(|place| rego.allows(place))?;
    let requests = trial.requests();
    let (mut ours, mut round) = (Samples::default(), 0);
    let (mut machine, mut interpreter) = (Samples::default(), Samples::default());
    rounds(case, WARM_UP, ROUNDS, |counts| {
        let mut one = Samples::default();
        let mut other = [Samples::default(), Samples::default()];
        decide(&trial.compiled, &requests, &mut one)?;
        others(round, &mut other[0], |place| rego.allows(place))?;
        others(round, &mut other[1], |place| rego.interpreted(place))?;
        round += 1;
        if counts {
            let [program, interpreted] = other;
            ours.extend(one);
            machine.extend(program);
            interpreter.extend(interpreted);
        }
        Ok(())
    })?;
    // Whichever is faster.
    let by_machine = machine.median() <= interpreter.median();
    Ok(outcome(
        case,
        0.2,
        &ours,
        "regorus, its virtual machine or its interpreter, whichever is faster; the same rules as indexed data, the same requests",
        &[
            (
                "regorus, compiled for its virtual machine",
                &machine,
                by_machine,
            ),
            ("regorus, interpreted", &interpreter, !by_machine),
        ],
    ))
}

pub(crate) fn growth(case: &'static str, few: u32, many: u32) -> Result<Outcome> {
    let (few, many) = (Trial::new(few)?, Trial::new(many)?);
    let (few_asked, many_asked) = (few.requests(), many.requests());
    let (mut of_few, mut of_many) = (Samples::default(), Samples::default());
    rounds(case, WARM_UP, ROUNDS, |counts| {
        let (mut one, mut other) = (Samples::default(), Samples::default());
        decide(&few.compiled, &few_asked, &mut one)?;
        decide(&many.compiled, &many_asked, &mut other)?;
        if counts {
            of_few.extend(one);
            of_many.extend(other);
        }
        Ok(())
    })?;
    Ok(outcome(
        case,
        2.0,
        &of_many,
        "a decision by 10 rules",
        &[("by 10 rules", &of_few, true)],
    ))
}

fn outcome(
    case: &'static str,
    goal: f64,
    ours: &Samples,
    reference: &'static str,
    parts: &[(&str, &Samples, bool)],
) -> Outcome {
    let nanoseconds = |samples: &Samples| samples.median() * 1e9;
    let counted = parts.iter().filter(|(_, _, counted)| *counted);
    let reference_value = counted.map(|(_, samples, _)| nanoseconds(samples)).sum();
    let part = |(name, samples, counted): &(&str, &Samples, bool)| Part {
        name: (*name).into(),
        milliseconds: samples.median() * 1e3,
        counted: *counted,
    };
    Outcome {
        suite: SUITE,
        case,
        value: nanoseconds(ours),
        unit: "ns",
        reference,
        reference_value,
        ratio: nanoseconds(ours) / reference_value,
        better: Better::Lower,
        goal,
        rounds: ROUNDS,
        spread: ours.spread(),
        parts: parts.iter().map(part).collect(),
    }
}
