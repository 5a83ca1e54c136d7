//! `bartizan-hypervisor`: the daemon that starts guests and serves their attestation API.

#![forbid(unsafe_code)]

use std::path::PathBuf;

use anyhow::{Context, Result};
use bartizan_hypervisor::cgroup::settle;
use bartizan_hypervisor::confinement::daemon::confine;
use bartizan_hypervisor::daemon::{Config, run};
use bartizan_hypervisor::log;
use clap::Parser;

/// Runs guests from signed launch records and serves their attestation API.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example: bartizan-hypervisor --config /etc/bartizan/hypervisor.yaml"
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
    std::fs::create_dir_all(&config.run_dir)?;
    // Guests that run are served all the same; of a new one's start the error is told again.
    if let Err(error) = settle() {
        tracing::error!(%error, "guests' control groups cannot be prepared");
    }
    confine(&config).context("the process could not be confined")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let ended = runtime.block_on(run(config, || {
        if let Err(error) = bartizan_local::notify_ready() {
            tracing::warn!(%error, "readiness could not be told");
        }
    }));
    // Without waiting for a supervisor that hangs at its start.
    runtime.shutdown_background();
    ended
}
