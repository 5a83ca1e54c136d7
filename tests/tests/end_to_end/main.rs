//! End-to-end tests: real stacks with two real guests each, shared by all where isolation is not the point. What a few
//! cases need beyond that (a second host, guests of other kinds) they start for themselves.
//!
//! A stack is started once and ended at the end, which the standard harness cannot do; see [`lanes`].

mod agreement;
mod asked;
mod boot;
mod compromised;
mod contained;
mod decoy;
mod devices_lost;
mod forks;
mod grading;
mod hostile;
mod kernel;
mod lanes;
mod large;
mod machine;
mod main_job;
mod network;
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

use lanes::{Group, Lanes};
use libtest_mimic::{Arguments, Trial};
use world::World;

/// A test: a name, and what it does with the world.
type Case = (&'static str, fn(&mut World) -> anyhow::Result<()>);

/// What takes longest comes first.
fn groups() -> Vec<Group> {
    let beside = |cases: &[Case]| Group {
        cases: cases.to_vec(),
        alone: false,
    };
    let alone = |cases: &[Case]| Group {
        cases: cases.to_vec(),
        alone: true,
    };
    vec![
        beside(main_job::CASES),
        beside(&refusals::cases()),
        beside(&boot::cases()),
        beside(rotations::CASES),
        // Before any that ends the devices: for minutes after their start they take up connections without a handshake.
        beside(network::CASES),
        beside(survival::CASES),
        beside(large::CASES),
        beside(contained::CASES),
        beside(running::CASES),
        beside(runbooks::CASES),
        beside(renewal::CASES),
        beside(devices_lost::CASES),
        beside(grading::CASES),
        beside(vdso::CASES),
        beside(agreement::CASES),
        beside(kernel::CASES),
        beside(operations::CASES),
        beside(hostile::CASES),
        beside(forks::CASES),
        beside(runbooks::OF_THEIR_OWN),
        alone(processes::CASES),
        alone(secrets::CASES),
        beside(rotations::fleet_ca::CASES),
    ]
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let mut groups = groups();
    if let Some(filter) = &arguments.filter {
        let exact = arguments.exact;
        for group in &mut groups {
            group.cases.retain(|(name, _)| match exact {
                true => name == filter,
                false => name.contains(filter.as_str()),
            });
        }
    }
    groups.retain(|group| !group.cases.is_empty());
    if groups.is_empty() {
        eprintln!("no case has such a name; `--list` names all");
        return ExitCode::FAILURE;
    }
    let names: Vec<_> = (groups.iter())
        .flat_map(|group| group.cases.iter().map(|(name, _)| *name))
        .collect();
    let lanes = Lanes::start(if arguments.list { Vec::new() } else { groups });
    let outcomes = lanes.outcomes();
    let trials = names
        .into_iter()
        .map(|name| {
            let outcomes = outcomes.clone();
            Trial::test(name, move || Ok(outcomes.of(name)?))
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    lanes.end();
    conclusion.exit_code()
}
