//! What is refused, and as what: each case names its one problem type, and nothing is granted.

mod another_host;
mod attack;
mod authenticity;
mod enrolment;
mod foreign;
mod freshness;
mod regions;
mod reports;
mod revocations;
mod targets;
mod tls;
mod tokens;

use anyhow::{Context, Result};
use bartizan_attestation::measurement::Target;

use crate::Case;
use crate::requests::{Enrolled, attest, nonce, request};
use crate::world::World;

/// The cases of every module, by what is wrong.
pub(crate) fn cases() -> Vec<Case> {
    [
        freshness::CASES,
        authenticity::CASES,
        another_host::CASES,
        reports::CASES,
        regions::CASES,
        targets::CASES,
        enrolment::CASES,
        revocations::CASES,
        tls::CASES,
        tokens::CASES,
    ]
    .concat()
}

/// Fails unless having `web` measure a target is exactly one problem.
fn refused(world: &mut World, target: Target, problem: &str) -> Result<()> {
    let (_, web) = world.web()?;
    let enrolled = Enrolled::of(web)?;
    let asked = request("nginx", nonce(web)?, target)?;
    let answer = attest(web, &enrolled.sign(&asked)?)?;
    answer
        .must_refuse(problem)
        .with_context(|| format!("{:x?}", asked.target))
}
