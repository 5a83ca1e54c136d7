//! Requests a second at 64 in flight, against how fast one core signs and verifies for them.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bartizan_measuring::{Better, Outcome, Part, Samples, rounds};

use crate::SUITE;
use crate::exchange::{API, attest, granted, signed};
use crate::rig::{Rig, Subject};
use crate::signatures::{Keys, STEPS};

pub(crate) const NAME: &str = "rate_64";
/// Guests: each may have 32 connections.
const GUESTS: u32 = 2;
/// Connections of a guest, each with one request in flight: 64 together.
const CONNECTIONS: usize = 32;
/// Requests of a guest in a round.
const REQUESTS: usize = 256;
/// Bytes that each measures.
const SIZE: u64 = 4 << 10;
const WARM_UP: usize = 1;
const ROUNDS: usize = 11;

pub(crate) fn run(rig: &mut Rig) -> Result<Outcome> {
    let mut second = Subject::boot(&rig.stack, "second")?;
    let keys = Keys::generate()?;
    let mut each = Samples::default();
    let mut steps: [Samples; STEPS.len()] = Default::default();
    rounds(NAME, WARM_UP, ROUNDS, |counts| {
        let (first, second) = (&mut rig.first, &mut second);
        load(second)?;
        let request = load(first)?;
        let took = fired(first, second)?;
        // Whatever is no token is an error.
        for answer in second.guest.agent.collect()? {
            granted(&answer)?;
        }
        let answers = first.guest.agent.collect()?;
        let answers: Vec<_> = answers
            .iter()
            .map(|answer| granted(answer))
            .collect::<Result<_>>()?;
        let granted = answers.last().context("a round has requests")?;
        let measured = keys.measure(&first.enrolled, &request, granted)?;
        if counts {
            each.add(took / u32::try_from(REQUESTS)? / GUESTS);
            steps
                .iter_mut()
                .zip(measured)
                .for_each(|(samples, step)| samples.add(step));
        }
        Ok(())
    })?;
    Ok(outcome(&each, &steps))
}

/// Has a guest hold its requests of one round; returns the last.
fn load(subject: &mut Subject) -> Result<Vec<u8>> {
    let mut requests = signed(subject, REQUESTS, SIZE)?;
    let sent: Vec<_> = requests
        .iter()
        .map(|request| attest(request, true))
        .collect();
    subject.guest.agent.load(API, &sent)?;
    requests.pop().context("a round has requests")
}

/// Has both guests send; how long it takes until all is answered.
fn fired(first: &mut Subject, second: &mut Subject) -> Result<Duration> {
    let both = Barrier::new(2);
    let fire = |subject: &mut Subject| {
        both.wait();
        let begun = Instant::now();
        subject.guest.agent.fire(CONNECTIONS, true)?;
        anyhow::Ok(begun.elapsed())
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| fire(second));
        let one = fire(first)?;
        let other = other
            .join()
            .map_err(|_| anyhow::anyhow!("a guest's thread panicked"))??;
        Ok(one.max(other))
    })
}

fn outcome(each: &Samples, steps: &[Samples]) -> Outcome {
    let parts: Vec<_> = STEPS
        .iter()
        .zip(steps)
        .map(|(name, samples)| Part {
            name: (*name).into(),
            milliseconds: samples.median() * 1e3,
            counted: true,
        })
        .collect();
    let one_core: f64 = parts.iter().map(|part| part.milliseconds).sum();
    let (value, reference_value) = (1.0 / each.median(), 1e3 / one_core);
    Outcome {
        suite: SUITE,
        case: NAME,
        value,
        unit: "requests/s",
        reference: "the rate at which one core does the signatures and verifications of a request",
        reference_value,
        ratio: value / reference_value,
        better: Better::Higher,
        goal: 0.5,
        rounds: ROUNDS,
        spread: each.spread(),
        parts,
    }
}
