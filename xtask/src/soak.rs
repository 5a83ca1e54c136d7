//! Long runs, with a judgement at the end.

use std::path::Path;

use anyhow::{Result, bail};

use crate::demo::{Build, stage};
use crate::{components, policy, sh};

/// How long one runs, and what it is drawn from.
pub(crate) struct Soak<'a> {
    pub(crate) minutes: Option<u64>,
    pub(crate) pairs: Option<u64>,
    pub(crate) seed: Option<u64>,
    /// Where what came of it is written to.
    pub(crate) json: Option<&'a Path>,
}

/// Runs the one of a name.
pub(crate) fn run(name: &str, soak: &Soak<'_>) -> Result<()> {
    match (name, soak) {
        ("policy", Soak { minutes: None, .. }) => policy::soak(soak),
        ("policy", _) => bail!("`soak policy` has no end by time: give --pairs"),
        (_, Soak { pairs: Some(_), .. }) => bail!("--pairs is for `soak policy`: give --minutes"),
        _ => on_the_stack(name, soak),
    }
}

/// On the real stack: `bartizan-soak` of `bartizan-tests` has those.
fn on_the_stack(name: &str, wanted: &Soak<'_>) -> Result<()> {
    components::setup()?;
    components::demand_root("soak")?;
    let mut soak = stage(Build::Release)?.command("bartizan-soak");
    let minutes = wanted.minutes.unwrap_or(60);
    soak.arg(name).args(["--minutes", &minutes.to_string()]);
    if let Some(seed) = wanted.seed {
        soak.args(["--seed", &seed.to_string()]);
    }
    if let Some(json) = wanted.json {
        // It runs in the repository's root.
        soak.arg("--json").arg(std::path::absolute(json)?);
    }
    sh::loud(&mut soak)
}
