//! Of what does not hold, the least that does not.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context, Result};
use bartizan_policy::{Guest, Policy};
use bartizan_policy_tests::agreement::Subject;
use proptest::strategy::ValueTree;

use crate::drawn::{Drawn, Trial};
use crate::summary::Failure;

/// How often something smaller is tried.
const STEPS: usize = 20_000;

/// Of what a seed determines; `at`: the trial that fails, none where the policies do not compile.
pub(crate) fn smallest(seed: u64, at: Option<usize>) -> Result<Failure> {
    eprintln!("\u{2717} it does not hold: looking for the smallest counter-example");
    let trial = match at {
        Some(at) => {
            let trial = Drawn::of(seed)?.trials.into_iter().nth(at);
            Some(trial.context("a seed determines its trials")?)
        }
        None => None,
    };
    let whom = smaller(Drawn::whom(seed)?, |whom| {
        fails(whom, trial.as_ref()).is_some()
    });
    let tree = at.map(|at| Drawn::trial(seed, at)).transpose()?.flatten();
    let trial = match tree {
        Some(tree) => Some(smaller(tree, |trial| fails(&whom, Some(trial)).is_some())),
        None => trial,
    };
    let says = fails(&whom, trial.as_ref());
    let (policies, guest) = whom;
    Ok(Failure {
        seed,
        says: says.unwrap_or_else(|| "it fails now and then".into()),
        policies,
        guest: serde_json::json!({
            "vm": guest.vm, "role": guest.role, "labels": guest.labels, "trust": guest.trust,
        }),
        request: trial.map(|trial| trial.one),
    })
}

/// What fails of it.
fn fails(whom: &(Vec<Policy>, Guest), trial: Option<&Trial>) -> Option<String> {
    let (policies, guest) = whom;
    let subject = match caught(|| Subject::new(policies, guest)) {
        Ok(subject) => subject,
        Err(says) => return Some(says),
    };
    trial.and_then(|trial| caught(|| trial.tried(&subject)).err())
}

/// The smallest of which it is so.
fn smaller<T: ValueTree>(mut tree: T, is_so: impl Fn(&T::Value) -> bool) -> T::Value {
    let mut smallest = tree.current();
    for _ in 0..STEPS {
        let current = tree.current();
        let goes_on = if is_so(&current) {
            smallest = current;
            tree.simplify()
        } else {
            tree.complicate()
        };
        if !goes_on {
            break;
        }
    }
    smallest
}

/// What it comes to; else what it says, also where it panics.
pub(crate) fn caught<T, E: Display>(work: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err("it panics".into()),
    }
}
