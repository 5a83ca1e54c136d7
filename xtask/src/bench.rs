//! Benchmarks: on the real stack, of which `bartizan-bench` of `bartizan-tests` has the cases; of the policy engine and of network devices alone.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::demo::{Build, stage};
use crate::{components, enclave_kernel, network, policy, sh};

/// Runs a suite and writes its outcomes to `json`, if that is wished.
pub(crate) fn run(suite: &str, json: Option<&Path>, case: Option<&str>) -> Result<()> {
    if suite == "policy" {
        return policy::bench(json, case);
    }
    components::setup()?;
    if suite == "network" {
        return of_networks(json, case);
    }
    on_the_stack(suite, json, case)
}

/// What begins the names of the cases of networks that need real guests.
const WITH_GUESTS: &str = "tcp_";

/// Devices alone, then real guests; what both come to is one array.
fn of_networks(json: Option<&Path>, case: Option<&str>) -> Result<()> {
    let wanted = case.unwrap_or_default();
    if wanted.starts_with(WITH_GUESTS) {
        return on_the_stack("network", json, case);
    }
    network::bench(json, case)?;
    if !WITH_GUESTS.starts_with(wanted) {
        return Ok(());
    }
    let Some(json) = json else {
        return on_the_stack("network", None, case);
    };
    let beside: PathBuf = sh::root().join("target/artifacts/bench-network-guests.json");
    on_the_stack("network", Some(&beside), case)?;
    let mut all = outcomes(json)?;
    all.extend(outcomes(&beside)?);
    fs::write(json, serde_json::to_vec_pretty(&all)?)?;
    Ok(fs::remove_file(&beside)?)
}

fn outcomes(file: &Path) -> Result<Vec<Value>> {
    let text = fs::read(file).with_context(|| format!("no outcomes in {}", file.display()))?;
    Ok(serde_json::from_slice(&text)?)
}

fn on_the_stack(suite: &str, json: Option<&Path>, case: Option<&str>) -> Result<()> {
    components::demand_root("bench")?;
    let mut bench = stage(Build::Release)?.command("bartizan-bench");
    bench.arg(suite);
    // A PKCS #11 module reads its settings when a program first uses it: the benchmark writes them there.
    bench.env(
        "SOFTHSM2_CONF",
        sh::root().join("target/artifacts/bench-softhsm2.conf"),
    );
    // Its cases are left out where it was not built.
    if let Some(kernel) = enclave_kernel::built() {
        bench.env("BARTIZAN_ENCLAVE_KERNEL", kernel);
    }
    if let Some(json) = json {
        // It runs in the repository's root.
        bench.arg("--json").arg(std::path::absolute(json)?);
    }
    if let Some(case) = case {
        bench.args(["--case", case]);
    }
    sh::loud(&mut bench)
}
