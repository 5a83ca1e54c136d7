//! A card that runs stays certified.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bartizan_attestation::certificates::{Usage, verify_chain};

use crate::fleet::{Authority, now};
use crate::stand_in_vault::StandInVault;
use crate::stand_in_verifier::StandInVerifier;
use crate::{DEADLINE, configure};

/// A running card; killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn a_certificate_in_its_second_half_is_renewed_by_a_card_that_runs() {
    let directory = tempfile::tempdir().unwrap();
    let fleet = Arc::new(Authority::fleet());
    let ends = now() + 3600;
    let card = fleet.card((now() - 7200, ends));
    let key = card.key.public_key();
    let vault = StandInVault::start(directory.path(), card, fleet.der.clone());
    let verifier = StandInVerifier::start(Arc::clone(&fleet));
    let configuration = configure(directory.path(), &vault.socket, &verifier, "");
    let card = Command::new(env!("CARGO_BIN_EXE_bartizan-card"))
        .args(["run", "--config"])
        .arg(configuration)
        .env_remove("NOTIFY_SOCKET")
        .stderr(Stdio::null())
        .spawn();
    let _card = Running(card.unwrap());
    let installed = vault.installed.recv_timeout(DEADLINE);
    let installed: Vec<_> = installed.unwrap().into_iter().map(Vec::from).collect();
    let renewed = verify_chain(&installed, &fleet.ca(), now(), Usage::Card).unwrap();
    assert_eq!(renewed.public_key, key);
    assert!(renewed.not_after > ends);
}
