//! A card that runs stays certified.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bartizan_attestation::certificates::{Usage, verify_chain};

use crate::fleet::{Authority, fresh, now};
use crate::stand_in_vault::StandInVault;
use crate::stand_in_verifier::StandInVerifier;
use crate::{DEADLINE, configure};

/// A running card; killed when dropped.
struct Running(Child);

impl Running {
    fn start(configuration: &Path) -> Self {
        let card = Command::new(env!("CARGO_BIN_EXE_bartizan-card"))
            .args(["run", "--config"])
            .arg(configuration)
            .env_remove("NOTIFY_SOCKET")
            .stderr(Stdio::null())
            .spawn();
        Self(card.unwrap())
    }
}

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
    let _card = Running::start(&configure(directory.path(), &vault.socket, &verifier, ""));
    let installed = vault.installed.recv_timeout(DEADLINE);
    let installed: Vec<_> = installed.unwrap().into_iter().map(Vec::from).collect();
    let renewed = verify_chain(&installed, &fleet.ca(), now(), Usage::Card).unwrap();
    assert_eq!(renewed.public_key, key);
    assert!(renewed.not_after > ends);
}

/// It knows the verifier by the link alone, has its vault follow first, and is certified anew, though its year has just begun.
#[test]
fn a_card_that_runs_follows_the_fleet_ca_and_is_certified_by_the_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let old = Authority::fleet();
    let (new, lineage) = old.next();
    let new = Arc::new(new);
    let card = old.card(fresh());
    let key = card.key.public_key();
    let vault = StandInVault::start(directory.path(), card, old.der.clone());
    let verifier = StandInVerifier::start_with(Arc::clone(&new), lineage.clone());
    let _card = Running::start(&configure(directory.path(), &vault.socket, &verifier, ""));
    assert_eq!(vault.rolled.recv_timeout(DEADLINE).unwrap(), lineage);
    let installed = vault.installed.recv_timeout(DEADLINE);
    let installed: Vec<_> = installed.unwrap().into_iter().map(Vec::from).collect();
    let renewed = verify_chain(&installed, &new.ca(), now(), Usage::Card).unwrap();
    assert_eq!(renewed.public_key, key);
}
