//! The card between a stand-in vault and a stand-in verifier: its binary, and its service.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod absence;
mod bundles;
mod enclave;
mod enrolment;
mod fleet;
mod operations;
mod stand_in_vault;
mod stand_in_verifier;
mod succession;
mod token_keys;

use std::path::{Path, PathBuf};
use std::time::Duration;

use stand_in_verifier::StandInVerifier;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// Writes a configuration; `extra` is added to it.
fn configure(directory: &Path, vault: &Path, verifier: &StandInVerifier, extra: &str) -> PathBuf {
    let path = directory.join("card.yaml");
    let (socket, state) = (directory.join("card.sock"), directory.join("state"));
    let text = format!(
        "socket: {}\nallowed_uids: [0]\noperations_socket: {}\noperators_uids: [0]\nhypervisor_socket: {}\nvault_socket: {}\nstate_dir: {}\n\
         verifier: {{host: 127.0.0.1, port: {}}}\n{extra}\n",
        socket.display(),
        directory.join("operations.sock").display(),
        directory.join("hypervisor.sock").display(),
        vault.display(),
        state.display(),
        verifier.port,
    );
    std::fs::write(&path, text).unwrap();
    path
}
