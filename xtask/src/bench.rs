//! Benchmarks: on the real stack, of which `bartizan-bench` of `bartizan-tests` has the cases; of the policy engine and of network devices alone.

use std::path::Path;

use anyhow::Result;

use crate::demo::{Build, stage};
use crate::{components, enclave_kernel, network, policy, sh};

/// Runs a suite and writes its outcomes to `json`, if that is wished.
pub(crate) fn run(suite: &str, json: Option<&Path>, case: Option<&str>) -> Result<()> {
    if suite == "policy" {
        return policy::bench(json, case);
    }
    components::setup()?;
    if suite == "network" {
        return network::bench(json, case);
    }
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
