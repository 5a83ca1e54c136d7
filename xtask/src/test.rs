//! Every test: unit and property tests, then the end-to-end tests on the real stack. What must hold of the source besides, and has all of it
//! compiled anew to see, is [`check`]'s.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::demo::Stage;
use crate::progress::step;
use crate::{check, components, demo, kernels, sh};

/// Runs all of them, or the end-to-end tests whose name contains `filter`.
pub(crate) fn run(filter: Option<&str>) -> Result<()> {
    components::setup()?;
    if filter.is_none() {
        check::at_a_glance()?;
        step("build: unit and property tests", || {
            sh::quiet(tests().arg("--no-run")).map(drop)
        })?;
        step("unit and property tests", || {
            sh::loud(tests().arg("--quiet"))
        })?;
    }
    components::demand_root("test")?;
    let stage = demo::stage(demo::Build::Tests)?;
    if filter.is_none() {
        // Ignored elsewhere, since only here are there kernels to boot.
        let kernels = kernels::ensure()?;
        step("measuring booted kernels, 4- and 5-level paging", || {
            let mut tests = tests();
            stage
                .environment(&mut tests)
                .env("BARTIZAN_TEST_KERNEL_GENERIC", &kernels.generic)
                .env("BARTIZAN_TEST_KERNEL_BACKPORTS", &kernels.backports);
            sh::loud(tests.args(["--test=measuring", "guest::", "--", "--ignored", ALONE]))
        })?;
    }
    end_to_end(&stage, filter)
}

/// Runs the end-to-end tests whose name contains `filter` on a stack whose enclave's machine has this kernel.
pub(crate) fn on_enclave_kernel(kernel: &Path, filter: &str) -> Result<()> {
    components::setup()?;
    components::demand_root("enclave-kernel --check")?;
    let stage = demo::stage(demo::Build::Tests)?.with_enclave_kernel(kernel)?;
    end_to_end(&stage, Some(filter))
}

fn end_to_end(stage: &Stage, filter: Option<&str>) -> Result<()> {
    step("end-to-end tests", || {
        let mut tests = tests();
        stage.environment(&mut tests);
        tests.args(["--test=end_to_end", "--", "--nocapture", ALONE]);
        sh::loud(tests.args(filter))
    })
}

/// One after the other.
const ALONE: &str = "--test-threads=1";

/// Of the whole workspace, whichever are run: else cargo builds all that they need anew, in their features alone.
fn tests() -> Command {
    let mut cargo = sh::cargo();
    cargo.args(["test", "--workspace", "--locked"]);
    cargo
}
