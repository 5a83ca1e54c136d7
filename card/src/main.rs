//! `bartizan-card`: enrols the host, then serves the hypervisor and operators.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "enrolment prints its result")]

mod exit;
mod join_code;

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use bartizan_attestation::certificates::FleetCa;
use bartizan_attestation::vault_counter::Machine;
use bartizan_card::bundles::Bundles;
use bartizan_card::machine::this_machine;
use bartizan_card::operations::{self, Aside, Clock, Operations, OperationsLog};
use bartizan_card::{
    Config, anchors, confinement, enclave, enroll, reporting_in, server, succession, unenrolled,
    verifier,
};
use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// The host's identity towards the fleet.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example: bartizan-card run --config /etc/bartizan/card.yaml"
)]
struct Arguments {
    /// Log as JSON.
    #[arg(long, global = true)]
    log_json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the hypervisor and operators.
    ///
    /// Exit code: 0 told to stop, 1 failed, 2 wrong usage or configuration, 69 the vault is away, or the device that holds its keys.
    #[command(after_help = "Example: bartizan-card run --config /etc/bartizan/card.yaml")]
    Run {
        /// The configuration, YAML.
        #[arg(long)]
        config: PathBuf,
    },
    /// The log of operations. To be run as the card's user.
    ///
    /// Exit code: 0 done, 1 failed, 2 wrong usage or configuration.
    #[command(
        after_help = "Example: bartizan-card log --set-aside --config /etc/bartizan/card.yaml"
    )]
    Log {
        /// The configuration, YAML.
        #[arg(long)]
        config: PathBuf,
        /// Put the log aside, broken or not, and begin another that names it. Look at it first. Where a card runs, that is done when it
        /// starts next.
        #[arg(long, required = true)]
        set_aside: bool,
        /// The log was written while the clock was ahead, and the clock is right now: the next log begins by it, and not where the
        /// former ended. An order that was issued in that time ahead can be done once more when that time comes.
        #[arg(long)]
        clock_is_right: bool,
    },
    /// Enrol this host, once. The join code is read from standard input.
    ///
    /// Exit code: 0 enrolled, 1 refused, 2 wrong usage or configuration, 69 the vault, its device or the verifier is away.
    #[command(
        after_help = "Example: bartizan-card enroll --config card.yaml --name rack1-07 --fleet-ca fleet-ca.pem <join-code"
    )]
    Enroll {
        /// The configuration, YAML.
        #[arg(long)]
        config: PathBuf,
        /// The host's name, as the join code was made for.
        #[arg(long)]
        name: String,
        /// The fleet CA certificate (PEM or DER), brought here by a way that is trusted.
        #[arg(long)]
        fleet_ca: PathBuf,
        /// Print JSON: the card's id.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log(arguments.log_json);
    match execute(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bartizan-card: {}", exit::message(&error));
            exit::code(&error)
        }
    }
}

fn execute(command: Command) -> Result<()> {
    match command {
        Command::Run { config } => {
            let config = Config::load(&config)?;
            // Before anything is out of reach.
            let machine = this_machine(config.machine.as_deref())?;
            let bind = |socket: &Path| {
                let bound = server::bind(socket);
                bound.with_context(|| format!("could not serve at {}", socket.display()))
            };
            let stage = config.coordinator.as_ref();
            let listeners = Listeners {
                hypervisor: bind(&config.socket)?,
                operators: bind(&config.operations_socket)?,
                stage: stage.map(|stage| bind(&stage.socket)).transpose()?,
                enclave: match &config.enclave {
                    Some(links) => Some([bind(&links.socket)?, bind(&links.verifier_socket)?]),
                    None => None,
                },
                keeper: match config
                    .enclave
                    .as_ref()
                    .and_then(|of| of.keeper_socket.as_ref())
                {
                    Some(socket) => Some(bind(socket)?),
                    None => None,
                },
            };
            std::fs::create_dir_all(config.state_dir.join("boots"))
                .with_context(|| format!("could not make {}", config.state_dir.display()))?;
            // Before the runtime: threads inherit it from the one that made them.
            confinement::restrict_access(&config)?;
            runtime()?.block_on(run(&config, &machine, listeners))
        }
        Command::Log {
            config,
            clock_is_right,
            ..
        } => {
            let config = Config::load(&config)?;
            let clock = if clock_is_right {
                Clock::Right
            } else {
                Clock::Compared
            };
            match operations::set_aside(&config.state_dir, clock)? {
                Aside::Put(path) => println!("the former log is {}", path.display()),
                Aside::Gone => println!("the former log was gone; a new one begins"),
                Aside::AtNextStart => println!(
                    "the card that runs has the log, and puts it aside when it starts next: end its process, and the launcher starts it again"
                ),
            }
            Ok(())
        }
        Command::Enroll {
            config,
            name,
            fleet_ca,
            json,
        } => {
            let config = Config::load(&config)?;
            let bytes = std::fs::read(&fleet_ca)
                .with_context(|| format!("could not read {}", fleet_ca.display()))?;
            let fleet_ca = FleetCa::from_pem_or_der(&bytes)
                .with_context(|| format!("{} is no fleet CA", fleet_ca.display()))?;
            let join_code = join_code::read(std::io::stdin().lock())?;
            let card =
                runtime()?.block_on(enroll::enroll(&config, &name, &join_code, &fleet_ca))?;
            if json {
                println!("{}", serde_json::json!({ "card": card.to_string() }));
            } else {
                println!("enrolled as {card}");
            }
            Ok(())
        }
    }
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
}

/// The sockets, bound before anything is out of reach.
struct Listeners {
    hypervisor: UnixListener,
    operators: UnixListener,
    /// The coordinator's first stage, where it is served.
    stage: Option<UnixListener>,
    /// The enclave's link to the card, and that to the verifier, where there are.
    enclave: Option<[UnixListener; 2]>,
    /// Where the enclave's keeper tells how it is.
    keeper: Option<UnixListener>,
}

async fn run(config: &Config, machine: &Machine, listeners: Listeners) -> Result<()> {
    let hypervisor = tokio::net::UnixListener::from_std(listeners.hypervisor)?;
    let operators = tokio::net::UnixListener::from_std(listeners.operators)?;
    let stage = listeners.stage.map(tokio::net::UnixListener::from_std);
    let stage_uids = config.coordinator.as_ref();
    let stage_uids = stage_uids.map_or(&[][..], |stage| &stage.allowed_uids);
    let mut terminate = signal(SignalKind::terminate())?;
    let log = tokio::task::block_in_place(|| OperationsLog::open(config))?;
    confinement::restrict_system_calls(config)?;
    let ready = || bartizan_local::notify_ready().context("NOTIFY_SOCKET cannot be used");
    let mut told = None;
    let waiting = || {
        tracing::warn!("this host is not enrolled; run `bartizan host enroll`");
        told = Some(ready());
    };
    let enclave_listeners = match listeners.enclave {
        Some([own, verifiers]) => Some((
            tokio::net::UnixListener::from_std(own)?,
            tokio::net::UnixListener::from_std(verifiers)?,
        )),
        None => None,
    };
    let keeper = listeners.keeper.map(tokio::net::UnixListener::from_std);
    let keeper = keeper.transpose()?;
    let enclave_uids = config.enclave.as_ref();
    let enclave_uids = enclave_uids.map_or(&[][..], |links| &links.allowed_uids);
    let bundles = Arc::new(Bundles::default());
    let mut serving_stage = pin!(bundles.serve(stage.transpose()?, stage_uids));
    let card = tokio::select! {
        () = &mut serving_stage => return Ok(()),
        card = unenrolled::enrolled(config, &hypervisor, waiting) => Arc::new(card?),
        _ = terminate.recv() => return Ok(()),
    };
    bundles.fetch_from(card.verifier());
    let operations = Operations::new(config, Arc::clone(&card), log);
    told.unwrap_or_else(ready)?;
    tracing::info!("ready");
    let telling = async {
        verifier::tell(&card).await;
        std::future::pending().await
    };
    let serving_enclave = async {
        let Some((own, verifiers)) = enclave_listeners else {
            return std::future::pending().await;
        };
        let hearing_keeper = async {
            if let Some(keeper) = keeper {
                enclave::hear_keeper(Arc::clone(&card), keeper, enclave_uids).await;
            }
        };
        tokio::join!(
            hearing_keeper,
            enclave::serve(Arc::clone(&card), own, enclave_uids),
            enclave::forward(Arc::clone(&card), verifiers, enclave_uids),
        );
    };
    tokio::select! {
        () = telling => {}
        () = serving_enclave => {}
        () = &mut serving_stage => {}
        () = server::serve(Arc::clone(&card), hypervisor, &config.allowed_uids) => {}
        () = server::serve(Arc::clone(&operations), operators, &config.operators_uids) => {}
        () = operations.keep_log() => {}
        () = anchors::keep_followed(&card) => {}
        () = succession::keep_certified(&card) => {}
        () = reporting_in::keep_reported(&card, machine) => {}
        _ = terminate.recv() => tracing::info!("told to stop"),
    }
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
