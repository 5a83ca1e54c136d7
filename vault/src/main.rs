//! `bartizan-vault`: serves the keys of a host or of the verifier to the one user that may use them.

#![forbid(unsafe_code)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use bartizan_local::Notifier;
use bartizan_vault::backend::{Backend, DeviceError};
use bartizan_vault::boot::Link;
use bartizan_vault::config::{PinSource, Sealing};
use bartizan_vault::pkcs11::{Pin, Pkcs11, TokenName};
use bartizan_vault::server::{self, Server};
use bartizan_vault::software::{RootKey, Software};
use bartizan_vault::tpm2::Tpm2;
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

/// EX_CONFIG of sysexits.h: another try will not be better. A token that refused the PIN is locked by a few more.
const NOT_AGAIN: u8 = 78;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:?}");
            let pin = |cause: &(dyn Error + 'static)| {
                matches!(cause.downcast_ref(), Some(DeviceError::Pin))
            };
            if error.chain().any(pin) {
                ExitCode::from(NOT_AGAIN)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn run() -> Result<()> {
    let arguments = Arguments::parse();
    log(arguments.log_json);
    confinement::keep_memory_private()?;
    let config = Config::load(&arguments.config)?;
    let (backend, keyring) = open(&config)?;
    let kind = backend.kind();
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
    confinement::restrict_paths(&config.store, &config.sealing)?;
    let server = Server::start(vault, listener, config.allowed_uids, boot)?;
    confinement::restrict_system_calls(&config.sealing)?;
    notifier.ready().context("NOTIFY_SOCKET cannot be used")?;
    tracing::info!(role = ?config.role, back_end = kind.name(), "ready");
    server.run();
    Ok(())
}

/// The back end, and the store that it sealed.
fn open(config: &Config) -> Result<(Arc<dyn Backend>, Keyring)> {
    let stored = StoredKeyring::read(&config.store)?;
    let backend: Arc<dyn Backend> = match &config.sealing {
        Sealing::KeyFile(path) if stored.is_new() => software(RootKey::make_file(path)?),
        Sealing::KeyFile(path) => after_rotation(path, &stored)?,
        Sealing::PassphraseFile(path) => software(RootKey::from_passphrase(path, stored.salt())?),
        Sealing::Pkcs11(token) => {
            let pin = match &token.pin {
                PinSource::Prompt => Pin::ask(&token.token)?,
                PinSource::File(path) => Pin::from_file(path)?,
            };
            let name = TokenName {
                module: token.module.clone(),
                label: token.token.clone(),
                serial: token.serial.clone(),
            };
            Arc::new(Pkcs11::open(name, pin)?)
        }
        Sealing::Tpm2(tpm) => Arc::new(Tpm2::open(tpm)?),
    };
    let keyring = stored.open(Arc::clone(&backend))?;
    Ok((backend, keyring))
}

/// The key file's, or the one that a rotation has sealed the store with and was interrupted before it took its place.
fn after_rotation(path: &Path, stored: &StoredKeyring) -> Result<Arc<dyn Backend>> {
    if let Some(next) = RootKey::left_of(path)? {
        let next = Software::new(next);
        if stored.is_sealed_by(&next)? {
            next.take_key_file()?;
            return Ok(Arc::new(next));
        }
    }
    Ok(software(RootKey::from_file(path)?))
}

fn software(root: RootKey) -> Arc<dyn Backend> {
    Arc::new(Software::new(root))
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
