//! `bartizan`: the operator's command line.
//!
//! Exit codes: 0 done, 1 refused or failed verification, 2 usage, 69 a needed service is unavailable.

#![forbid(unsafe_code)]

mod card;
mod commands;
mod failure;
mod fleet_ca;
mod listing;
mod operator;
mod output;
mod program;
mod utc;
mod verifier;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::output::Output;

/// Operates a fleet of Bartizan hosts.
#[derive(Parser)]
#[command(
    name = "bartizan",
    version,
    after_help = "Examples:\n  bartizan vm list --json\n  bartizan verdict list --application nginx\n\nExit code: 0 done, 1 refused or failed verification, 2 wrong usage, 69 a needed service is unavailable."
)]
struct Arguments {
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The verifier, the attestation service.
    #[command(subcommand)]
    Service(commands::service::Service),
    /// This machine's operator credentials.
    #[command(subcommand)]
    Operator(commands::operator::Operator),
    /// Hosts of the fleet.
    #[command(subcommand)]
    Host(commands::host::Host),
    /// Keys of a host and of the verifier: which there are, other ones, none any more, and what became of them.
    #[command(subcommand)]
    Key(commands::key::Key),
    /// Application profiles: what must stand in RAM.
    #[command(subcommand)]
    Profile(commands::profile::Profile),
    /// Guests of this host.
    #[command(subcommand)]
    Vm(commands::vm::Vm),
    /// Guests of whichever host: cut one from every network, and take that back.
    #[command(subcommand)]
    Guest(commands::guest::Guest),
    /// Flows of guests: who they speak to, by which rule, and what is said.
    #[command(subcommand)]
    Flow(commands::flow::Flow),
    /// The enclave of a host, which decides what its guests may do.
    #[command(subcommand)]
    Enclave(commands::enclave::Enclave),
    /// What the verifier judged.
    #[command(subcommand)]
    Verdict(commands::verdict::Verdict),
    /// Revocation of hosts, guests, applications and operators.
    #[command(subcommand)]
    Revocation(commands::revocation::Revocation),
    /// How a host was booted.
    #[command(subcommand)]
    Boot(commands::boot::Boot),
    /// Release manifests: what hosts may be booted from.
    #[command(subcommand)]
    Release(commands::release::Release),
    /// What guests may do: policies, written, tried, signed, and handed to every host.
    #[command(subcommand)]
    Policy(commands::policy::Policy),
    /// What the firmware of hosts may have measured.
    #[command(subcommand)]
    Firmware(commands::firmware::Firmware),
    /// Signed evidence, checked offline.
    #[command(subcommand)]
    Evidence(commands::evidence::Evidence),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let output = Output::new(arguments.json);
    let done = match arguments.command {
        Command::Service(command) => commands::service::run(command, output),
        Command::Operator(command) => commands::operator::run(command, output),
        Command::Host(command) => commands::host::run(command, output),
        Command::Key(command) => commands::key::run(command, output),
        Command::Profile(command) => commands::profile::run(command, output),
        Command::Vm(command) => commands::vm::run(command, output),
        Command::Guest(command) => commands::guest::run(command, output),
        Command::Flow(command) => commands::flow::run(command, output),
        Command::Enclave(command) => commands::enclave::run(command, output),
        Command::Verdict(command) => commands::verdict::run(command, output),
        Command::Revocation(command) => commands::revocation::run(command, output),
        Command::Boot(command) => commands::boot::run(command, output),
        Command::Release(command) => commands::release::run(command, output),
        Command::Policy(command) => commands::policy::run(command, output),
        Command::Firmware(command) => commands::firmware::run(command, output),
        Command::Evidence(command) => commands::evidence::run(command, output),
    };
    match done {
        Ok(code) => code,
        Err(error) => output.failure(&error),
    }
}
