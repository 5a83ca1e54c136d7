//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// The attestation service: enrols hosts, judges reports, signs results.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLE)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Log as JSON, one object a line.
    #[arg(long, global = true)]
    pub(crate) log_json: bool,
}

const EXAMPLE: &str = "\
Example:
  bartizan-verifier init --config verifier.yaml --operator-csr ann.csr --operator-name ann \\
      --operator-certificate ann.pem --fleet-ca fleet-ca.pem
  bartizan-verifier run --config verifier.yaml

A configuration, verifier.yaml:
  listen: ['[::]:8443']
  names: [verifier.example.org]
  database: /var/lib/bartizan-verifier/verifier.db
  vault_socket: /run/bartizan-verifier-vault/vault.sock
  fleet_name: Example fleet
  # What hosts must have been booted from; or: measured_boot: not_demanded
  measured_boot:
    demanded:
      release_keys: [0fd6…]  # as `bartizan release key` prints them
      # Which PCRs of a host's TPM its vault keeps the boot in
      register_pcrs: {measurement: 12, authority: 15}
      # What their own firmware must have measured, by `bartizan firmware list`; or: {all_hosts: …}, not_demanded
      firmware: {tpm_hosts: {pcrs: [0, 2, 4, 7]}}

Exit status: 0 done, 1 failed or refused, 2 wrong usage or configuration, 69 the vault, or the device that holds its keys, is not there.";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve until SIGTERM or SIGINT.
    Run(Configured),
    /// Make the fleet CA if there is none, and certify its first operator, or one whom the vault's
    /// configuration names.
    Init {
        #[command(flatten)]
        configured: Configured,
        /// The operator's certification request (PKCS#10), PEM or DER.
        #[arg(long, value_name = "FILE")]
        operator_csr: PathBuf,
        /// The operator's name: 1 to 63 of `a-z`, `0-9`, `.`, `_`, `-`.
        #[arg(long, value_name = "NAME")]
        operator_name: String,
        /// Where to write the operator's certificate, PEM.
        #[arg(long, value_name = "OUT")]
        operator_certificate: PathBuf,
        /// Where to write the fleet CA's certificate, PEM.
        #[arg(long, value_name = "OUT")]
        fleet_ca: PathBuf,
    },
    /// Print the OpenAPI 3.1 description of the API.
    Openapi,
}

/// Where the configuration is.
#[derive(Debug, Args)]
pub(crate) struct Configured {
    /// The configuration file, YAML.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
}
