//! The hypervisor daemon: starts guests from signed records, takes running ones up again after its own
//! death, serves each guest's API and the operator's requests.
//!
//! It holds no guest: each guest's life (RAM, QEMU, measurer) is in its supervisor, so that a kill of
//! this process stops nothing. It holds no key and speaks to no network: the card does.

mod admissions;
mod adopt;
mod alone;
mod anchors;
mod backoff;
mod certify;
mod claim;
mod config;
mod enclave;
mod ended;
mod flows;
mod folder;
mod force;
mod group;
mod guest;
mod keys;
mod launch;
mod link;
mod notes;
mod operator;
mod pending;
mod places;
mod process_id;
mod registry;
mod restart;
mod running;
mod started;
mod stop;
mod unheard;
mod watch;

pub use config::{Child, Config, ConfigError, Enclave, Service};
pub use guest::Guest;
pub use keys::Enrolled;
pub use link::{CardLink, LinkError, SupervisorLink};
pub use process_id::ProcessId;
pub use started::{HostService, Started, StartedError};

use std::sync::Arc;

use registry::Registry;

/// Runs the daemon until it is told to stop. Guests go on running.
pub async fn run(config: Config, ready: impl FnOnce()) -> anyhow::Result<()> {
    let (registry, admissions) = Registry::new(config).await?;
    let registry = Arc::new(registry);
    if let Some(parts) = &registry.config.qemu_parts {
        parts.link()?;
    }
    let anchors = Arc::clone(&registry.anchors);
    tokio::spawn(async move { anchors.ask_until_answered().await });
    // Devices end the device of whom they do not hear.
    let running = registry.find_all()?;
    let serving = async {
        registry.adopt(running).await;
        let operators = operator::bind(&registry)?;
        let enclaves = registry.config.enclave.as_ref();
        let enclaves = enclaves.map(|config| anyhow::Ok((enclave::bind(config)?, config)));
        let enclaves = enclaves.transpose()?;
        ready();
        tracing::info!(guests = registry.len(), "ready");
        if let Some((listener, config)) = enclaves {
            let (config, registry) = (config.clone(), Arc::clone(&registry));
            tokio::spawn(async move { enclave::serve(listener, &config, &registry).await });
        }
        operator::serve(operators, Arc::clone(&registry)).await;
        Ok(())
    };
    tokio::select! {
        served = serving => served,
        () = admissions.run() => Ok(()),
        stopped = terminated() => {
            stopped?;
            tracing::info!("told to stop; guests go on");
            Ok(())
        }
    }
}

async fn terminated() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
