//! Every test: checks, unit and property tests, then the end-to-end tests on the real stack.

use anyhow::Result;

use crate::progress::step;
use crate::{check, components, demo, kernels, sh};

/// Runs all of them, or the end-to-end tests whose name contains `filter`.
pub(crate) fn run(filter: Option<&str>) -> Result<()> {
    components::setup()?;
    if filter.is_none() {
        check::run()?;
        step("unit and property tests", || {
            sh::loud(sh::cargo().args([
                "test",
                "--workspace",
                "--exclude=bartizan-tests",
                "--locked",
                "--quiet",
            ]))
        })?;
    }
    components::demand_root("test")?;
    let stage = demo::stage(demo::Build::Debug)?;
    if filter.is_none() {
        // Ignored elsewhere, since only here are there kernels to boot.
        let kernels = kernels::ensure()?;
        step("measuring booted kernels, 4- and 5-level paging", || {
            sh::loud(
                stage
                    .environment(&mut sh::cargo())
                    .env("BARTIZAN_TEST_KERNEL_GENERIC", &kernels.generic)
                    .env("BARTIZAN_TEST_KERNEL_BACKPORTS", &kernels.backports)
                    .args([
                        "test",
                        "--package=bartizan-measurer",
                        "--test=measuring",
                        "--locked",
                    ])
                    .args(["guest::", "--", "--ignored", "--test-threads=1"]),
            )
        })?;
    }
    step("end-to-end tests", || {
        sh::loud(
            stage
                .environment(&mut sh::cargo())
                .args([
                    "test",
                    "--package=bartizan-tests",
                    "--locked",
                    "--",
                    "--nocapture",
                    "--test-threads=1",
                ])
                .args(filter),
        )
    })
}
