//! `bartizan-vault`: serves the keys of a host or of the verifier to the one user that may use them.

#![forbid(unsafe_code)]

use std::path::PathBuf;

use anyhow::{Context, Result};
use bartizan_vault::config::Sealing;
use bartizan_vault::software::{RootKey, Software};
use bartizan_vault::{Config, Keyring, Vault, confinement, server};
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
    confinement::forbid_dumps()?;
    let config = Config::load(&arguments.config)?;
    let keyring = Keyring::open(&config.store)?;
    let root = match &config.sealing {
        Sealing::KeyFile(path) => RootKey::from_file(path)?,
        Sealing::PassphraseFile(path) => RootKey::from_passphrase(path, &keyring.salt())?,
    };
    let vault = Vault::new(config.role, Box::new(Software::new(root)), keyring);
    let listener = server::bind(&config.socket)
        .with_context(|| format!("could not serve at {}", config.socket.display()))?;
    confinement::confine(&config.store)?;
    bartizan_local::notify_ready().context("NOTIFY_SOCKET cannot be used")?;
    tracing::info!(role = ?config.role, "ready");
    server::serve(vault, &listener, &config.allowed_uids);
    Ok(())
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
