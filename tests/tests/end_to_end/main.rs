//! End-to-end tests: one real stack with two real guests, shared by all where isolation is not the point. What a few
//! cases need beyond that (a second host, guests of other kinds) they start for themselves.
//!
//! The stack is started once and ended at the end, which the standard harness cannot do; the trials run one after another
//! since they share guests.

mod agreement;
mod boot;
mod compromised;
mod decoy;
mod devices_lost;
mod forks;
mod grading;
mod hostile;
mod kernel;
mod large;
mod main_job;
mod operations;
mod pages;
mod processes;
mod refusals;
mod renewal;
mod requests;
mod rotations;
mod runbooks;
mod running;
mod secrets;
mod slowest;
mod survival;
mod vdso;
mod world;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use libtest_mimic::{Arguments, Trial};
use slowest::Durations;
use world::World;

/// A test: a name, and what it does with the world.
type Case = (&'static str, fn(&mut World) -> anyhow::Result<()>);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let cases: Vec<Case> = [
        main_job::CASES,
        &refusals::cases(),
        grading::CASES,
        vdso::CASES,
        agreement::CASES,
        large::CASES,
        kernel::CASES,
        renewal::CASES,
        running::CASES,
        operations::CASES,
        rotations::CASES,
        runbooks::CASES,
        processes::CASES,
        secrets::CASES,
        survival::CASES,
        hostile::CASES,
        &boot::cases(),
        devices_lost::CASES,
        forks::CASES,
        rotations::fleet_ca::CASES,
    ]
    .concat();
    let world = Arc::new(Mutex::new(World::default()));
    let durations = Arc::new(Mutex::new(Durations::default()));
    let trials = cases
        .into_iter()
        .map(|(name, case)| {
            let (world, durations) = (Arc::clone(&world), Arc::clone(&durations));
            Trial::test(name, move || {
                let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
                let began = Instant::now();
                let done = case(&mut world);
                let mut durations = durations.lock().unwrap_or_else(PoisonError::into_inner);
                durations.add(name, began.elapsed());
                Ok(done.map_err(|error| format!("{error:#}"))?)
            })
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let mut durations = durations.lock().unwrap_or_else(PoisonError::into_inner);
    durations.tell();
    // The stack ends here, not with the process: nothing of it may be left behind.
    drop(world);
    if !arguments.list && conclusion.num_passed + conclusion.num_failed == 0 {
        eprintln!("no case has such a name; `--list` names all");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}
