//! Long runs of the real stack; `bartizan-soak` of `bartizan-tests` has them.

use std::path::Path;

use anyhow::Result;

use crate::demo::{Build, stage};
use crate::{components, sh};

/// Runs one for so many minutes and writes what came of it to `json`, if that is wished.
pub(crate) fn run(name: &str, minutes: u64, seed: Option<u64>, json: Option<&Path>) -> Result<()> {
    components::setup()?;
    components::demand_root("soak")?;
    let mut soak = stage(Build::Release)?.command("bartizan-soak");
    soak.arg(name).args(["--minutes", &minutes.to_string()]);
    if let Some(seed) = seed {
        soak.args(["--seed", &seed.to_string()]);
    }
    if let Some(json) = json {
        // It runs in the repository's root.
        soak.arg("--json").arg(std::path::absolute(json)?);
    }
    sh::loud(&mut soak)
}
