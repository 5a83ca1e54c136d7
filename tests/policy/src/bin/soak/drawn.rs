//! All that a seed determines: a set of policies, a guest, and what is asked.

use std::rc::Rc;

use anyhow::{Result, anyhow};
use bartizan_policy::{Decision, Guest, Policy};
use bartizan_policy_tests::agreement::{Disagreement, Subject};
use bartizan_policy_tests::{Facts, Owned, Sizes, flows, guest, policies, request};
use proptest::prelude::any;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Requests of any kind of a set of policies, and flows of one world.
const REQUESTS: usize = 300;
const FLOWS: usize = 100;

/// What was drawn.
pub(crate) struct Drawn {
    pub(crate) policies: Vec<Policy>,
    pub(crate) guest: Guest,
    pub(crate) trials: Vec<Trial>,
}

/// A request, and another one: all of that is taken that the first one's decision does not depend on.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    pub(crate) one: Owned,
    pub(crate) other: Owned,
    pub(crate) low: bool,
    /// Of flows, whose widths are tried: the world that they are of.
    pub(crate) facts: Option<Rc<Facts>>,
}

impl Trial {
    pub(crate) fn tried<'s>(&self, subject: &'s Subject<'_>) -> Result<Decision<'s>, Disagreement> {
        match &self.facts {
            Some(facts) => subject.agrees_on_flows(facts, &self.one, &self.other, self.low),
            None => subject.agrees(&self.one, &self.other, self.low),
        }
    }
}

impl Drawn {
    pub(crate) fn of(seed: u64) -> Result<Self> {
        let mut runner = runner(seed);
        let (policies, guest) = draw(&whom(), &mut runner)?.current();
        let mut trials = Vec::with_capacity(REQUESTS + FLOWS);
        let asked = asked();
        for _ in 0..REQUESTS {
            trials.push(draw(&asked, &mut runner)?.current());
        }
        let (facts, flows) = draw(&flows(FLOWS), &mut runner)?.current();
        let facts = Rc::new(facts);
        let others = flows.iter().cycle().skip(1);
        let pairs = flows.iter().zip(others).enumerate();
        trials.extend(pairs.map(|(at, (one, other))| Trial {
            one: one.clone(),
            other: other.clone(),
            low: at % 2 == 0,
            facts: Some(Rc::clone(&facts)),
        }));
        Ok(Self {
            policies,
            guest,
            trials,
        })
    }

    /// The same policies, to be made smaller.
    pub(crate) fn whom(seed: u64) -> Result<impl ValueTree<Value = (Vec<Policy>, Guest)>> {
        draw(&whom(), &mut runner(seed))
    }

    /// The same trial, to be made smaller; none of one of flows, which have their world in common.
    pub(crate) fn trial(seed: u64, at: usize) -> Result<Option<impl ValueTree<Value = Trial>>> {
        let mut runner = runner(seed);
        draw(&whom(), &mut runner)?;
        let asked = asked();
        let trials = (0..REQUESTS).map(|_| draw(&asked, &mut runner));
        trials.take(at + 1).nth(at).transpose()
    }
}

fn whom() -> impl Strategy<Value = (Vec<Policy>, Guest)> {
    (policies(Sizes::Mixed), guest())
}

fn asked() -> impl Strategy<Value = Trial> {
    (request(), request(), any::<bool>()).prop_map(|(one, other, low)| Trial {
        one,
        other,
        low,
        facts: None,
    })
}

fn runner(seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes
        .iter_mut()
        .zip(seed.to_be_bytes())
        .for_each(|(to, from)| *to = from);
    let config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    TestRunner::new_with_rng(config, rng)
}

fn draw<S: Strategy>(strategy: &S, runner: &mut TestRunner) -> Result<S::Tree> {
    let drawn = strategy.new_tree(runner);
    drawn.map_err(|reason| anyhow!("nothing can be drawn: {reason}"))
}
