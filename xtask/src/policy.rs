//! What is tried of the policy engine alone, with nothing of the stack: `bartizan-policy-tests` has it.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::progress::step;
use crate::sh;
use crate::soak::Soak;

const PACKAGE: &str = "bartizan-policy-tests";

/// Compares the compiled form of policies with the plain one, in release build.
pub(crate) fn soak(wanted: &Soak<'_>) -> Result<()> {
    let mut soak = built(PACKAGE, "bartizan-policy-soak", &[])?;
    for (flag, number) in [("--pairs", wanted.pairs), ("--seed", wanted.seed)] {
        if let Some(number) = number {
            soak.args([flag, &number.to_string()]);
        }
    }
    run(soak, wanted.json)
}

/// Measures decisions beside those of other engines, which are built for nothing else.
pub(crate) fn bench(json: Option<&Path>, case: Option<&str>) -> Result<()> {
    let mut bench = built(PACKAGE, "bartizan-policy-bench", &["--features=peers"])?;
    if let Some(case) = case {
        bench.args(["--case", case]);
    }
    run(bench, json)
}

/// A program of one package, in release build.
pub(crate) fn built(package: &str, program: &str, features: &[&str]) -> Result<Command> {
    step(&format!("build: {program} (release)"), || {
        let mut build = sh::cargo();
        build.args(["build", "--release", "--locked", "--bin", program]);
        build.args(["--package", package]).args(features);
        sh::quiet(&mut build).map(drop)
    })?;
    Ok(sh::command(sh::root().join("target/release").join(program)))
}

/// Runs it, and has it write its outcomes where that is wished.
pub(crate) fn run(mut program: Command, json: Option<&Path>) -> Result<()> {
    if let Some(json) = json {
        // It runs in the repository's root.
        program.arg("--json").arg(std::path::absolute(json)?);
    }
    sh::loud(&mut program)
}
