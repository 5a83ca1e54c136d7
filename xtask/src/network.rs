//! What network devices move, with nothing of the stack: `bartizan-network-bench` has it.

use std::path::Path;

use anyhow::Result;

use crate::policy::{built, run};

/// Measures in release build.
pub(crate) fn bench(json: Option<&Path>, case: Option<&str>) -> Result<()> {
    let mut bench = built("bartizan-network-bench", "bartizan-network-bench", &[])?;
    if let Some(case) = case {
        bench.args(["--case", case]);
    }
    run(bench, json)
}
