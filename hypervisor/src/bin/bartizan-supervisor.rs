//! Runs one boot of one guest; started by `bartizan-hypervisor`.

#![forbid(unsafe_code)]

use anyhow::Context;
use bartizan_hypervisor::log;
use bartizan_hypervisor::qemu::process::seal_inherited;
use bartizan_hypervisor::supervisor::{SupervisorConfig, run};
use clap::Parser;

/// Runs one boot of one guest: QEMU, its measurer, its device's attachment.
///
/// Started by bartizan-hypervisor, which it outlives and which gives it its configuration (JSON) on standard input; not
/// meant to be started by hand.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Log as JSON lines.
    #[arg(long)]
    log_json: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    log::init(arguments.log_json, Some(log::OF_A_BOOT));
    seal_inherited().context("closing what was inherited")?;
    // A session of its own: neither the daemon's end nor its terminal's ends the guest. It fails for the
    // leader of a group, which a shell makes of us: then there is a session already.
    let _ = rustix::process::setsid();
    let mut daemon = std::io::stdin();
    let config = SupervisorConfig::read(&mut daemon)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(config, &mut daemon, &mut std::io::stdout()))?;
    Ok(())
}
