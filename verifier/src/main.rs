//! `bartizan-verifier`: see `--help`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use bartizan_verifier::config::{Config, ConfigError};
use bartizan_verifier::confinement::{restrict_access, restrict_system_calls};
use bartizan_verifier::init::{Beginning, InitError, begin};
use bartizan_verifier::run::{RunError, run};
use bartizan_verifier::vault::Vault;
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

mod arguments;

use arguments::{Arguments, Command};

/// How long a thread that asks the vault, or reads what somebody sent, may take when all else has ended: one try.
const LAST_THREADS: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log(arguments.log_json);
    match execute(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            exit_code(&error)
        }
    }
}

fn execute(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Openapi => {
            use std::io::Write as _;
            let document = bartizan_verifier::api::openapi::document();
            std::io::stdout()
                .write_all(document.as_bytes())
                .context("standard output")
        }
        Command::Init {
            configured,
            operator_csr,
            operator_name,
            operator_certificate,
            fleet_ca,
        } => {
            let config = Config::load(&configured.config)?;
            let beginning = Beginning {
                fleet_name: config.fleet_name,
                operator_csr,
                operator_name,
                operator_certificate,
                fleet_ca,
            };
            Ok(runtime()?.block_on(begin(&Vault::new(config.vault_socket), &beginning))?)
        }
        Command::Run(configured) => {
            let config = Config::load(&configured.config)?;
            // Before the runtime: threads inherit it from the one that made them.
            restrict_access(&config)?;
            let runtime = runtime()?;
            let served = runtime.block_on(serve(config));
            // Dropped, it would wait for its threads for ever.
            runtime.shutdown_timeout(LAST_THREADS);
            served
        }
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let end = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let ready = |addresses: &[std::net::SocketAddr]| {
        if let Err(error) = restrict_system_calls() {
            tracing::error!(%error, "the process could not be confined");
            std::process::exit(1);
        }
        tracing::info!(?addresses, "ready");
        if let Err(error) = bartizan_local::notify_ready() {
            tracing::warn!(%error, "NOTIFY_SOCKET cannot be used");
        }
    };
    Ok(run(config, end, ready).await?)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime could not be started")
}

fn log(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if json {
        builder.json().init()
    } else {
        builder.init()
    }
}

/// 2 for a wrong configuration, 69 (EX_UNAVAILABLE of sysexits.h) where the vault is away or its device, else 1.
fn exit_code(error: &anyhow::Error) -> ExitCode {
    let away = match error.downcast_ref() {
        Some(InitError::Vault(error)) => error.is_absent(),
        _ => (error.downcast_ref()).is_some_and(RunError::is_vault_absent),
    };
    if away {
        ExitCode::from(69)
    } else if error.is::<ConfigError>() {
        ExitCode::from(2)
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use bartizan_attestation::keys::VaultRefusal;
    use bartizan_verifier::anchors::AnchorsError;
    use bartizan_verifier::tls_identity::TlsIdentityError;
    use bartizan_verifier::vault::VaultError;

    use super::*;

    #[test]
    fn a_vault_or_device_that_is_away_is_an_outage_whoever_needs_it() {
        let away = || VaultError::Away {
            socket: "/run/vault".into(),
            source: io::ErrorKind::NotFound.into(),
        };
        let device = || VaultError::from(VaultRefusal::DeviceAway("no TPM".into()));
        let tls = RunError::TlsIdentity(TlsIdentityError::Vault(device()));
        for (error, due) in [
            (RunError::Anchors(AnchorsError::Vault(away())).into(), 69),
            (tls.into(), 69),
            (InitError::Vault(away()).into(), 69),
            (InitError::NoCertificate.into(), 1),
            (RunError::Anchors(AnchorsError::None).into(), 1),
        ] {
            assert_eq!(exit_code(&error), ExitCode::from(due), "{error}");
        }
    }
}
