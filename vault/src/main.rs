//! `bartizan-vault`: serves the keys of a host or of the verifier to the one user that may use them.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use bartizan_local::Notifier;
use bartizan_vault::backend::Backend;
use bartizan_vault::boot::Link;
use bartizan_vault::config::Sealing;
use bartizan_vault::server::{self, Server};
use bartizan_vault::software::{RootKey, Software};
use bartizan_vault::{Config, Keyring, StoredKeyring, Vault, confinement};
use clap::Parser;

/// Serves private keys by typed purpose.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example: bartizan-vault --config /etc/bartizan/vault.yaml"
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
    log(arguments.log_json);
    confinement::keep_memory_private()?;
    let config = Config::load(&arguments.config)?;
    let (backend, keyring) = open(&config)?;
    let boot = config
        .measured_boot
        .as_ref()
        .map(|_| Link::of_this_process());
    let boot = boot.transpose()?;
    let vault = Vault::new(config.role, backend, keyring)
        .with_operators(config.operators)
        .with_measured_boot(config.measured_boot);
    let listener = server::bind(&config.socket)
        .with_context(|| format!("could not serve at {}", config.socket.display()))?;
    // Opened before the filter, which allows no new socket.
    let notifier = Notifier::from_env().context("NOTIFY_SOCKET cannot be used")?;
    confinement::restrict_paths(&config.store)?;
    let server = Server::start(vault, listener, config.allowed_uids, boot)?;
    confinement::restrict_system_calls()?;
    notifier.ready().context("NOTIFY_SOCKET cannot be used")?;
    tracing::info!(role = ?config.role, "ready");
    server.run();
    Ok(())
}

/// The back end, and the store that it sealed.
fn open(config: &Config) -> Result<(Arc<dyn Backend>, Keyring)> {
    let stored = StoredKeyring::read(&config.store)?;
    let root = match &config.sealing {
        Sealing::KeyFile(path) if stored.is_new() => RootKey::make_file(path)?,
        Sealing::KeyFile(path) => RootKey::from_file(path)?,
        Sealing::PassphraseFile(path) => RootKey::from_passphrase(path, stored.salt())?,
    };
    let backend: Arc<dyn Backend> = Arc::new(Software::new(root));
    let keyring = stored.open(Arc::clone(&backend))?;
    Ok((backend, keyring))
}

fn log(json: bool) {
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if json {
        builder.json().init()
    } else {
        builder.init()
    }
}
