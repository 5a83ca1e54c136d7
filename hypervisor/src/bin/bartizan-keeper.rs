//! `bartizan-keeper`: runs the enclave's machine.

#![forbid(unsafe_code)]

use std::path::PathBuf;

use anyhow::{Context, Result};
use bartizan_hypervisor::cgroup::settle;
use bartizan_hypervisor::confinement::keeper::confine;
use bartizan_hypervisor::keeper::{Config, group, run};
use bartizan_hypervisor::log;
use bartizan_hypervisor::qemu::process::seal_inherited;
use clap::Parser;

/// Runs the enclave's machine, and connects its links.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example: bartizan-keeper --config /etc/bartizan/keeper.yaml"
)]
struct Arguments {
    /// The configuration, YAML.
    #[arg(long)]
    config: PathBuf,
    /// Log as JSON.
    #[arg(long)]
    log_json: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    log::init(arguments.log_json, None);
    let config = Config::load(&arguments.config)?;
    seal_inherited().context("closing what was inherited")?;
    std::fs::create_dir_all(&config.run_dir)?;
    // Where limits are optional the enclave runs all the same; of its start the error is told again.
    if let Err(error) = settle() {
        tracing::error!(%error, "the enclave's control group cannot be prepared");
    }
    // QEMU dies with the thread that started it: there is one.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    (runtime.block_on(group::clear(&config)))
        .context("what an earlier keeper left cannot be ended")?;
    confine(&config).context("the process could not be confined")?;
    runtime.block_on(run(config, || {
        if let Err(error) = bartizan_local::notify_ready() {
            tracing::warn!(%error, "readiness could not be told");
        }
    }))
}
