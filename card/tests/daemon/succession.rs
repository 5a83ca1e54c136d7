//! A card that runs stays certified.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use bartizan_attestation::certificates::{Lineage, Usage, VerifiedCertificate, verify_chain};
use bartizan_attestation::cose::PublicKey;
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::identity::CardId;

use crate::fleet::{Authority, Validity, fresh, now};
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

/// A card of the fleet with a certificate of this life, and what it has installed once it runs.
struct Scene {
    fleet: Arc<Authority>,
    vault: StandInVault,
    verifier: StandInVerifier,
    directory: tempfile::TempDir,
}

impl Scene {
    fn new(validity: Validity, next: Option<EphemeralKey>) -> (Self, CardId, PublicKey) {
        let fleet = Authority::fleet();
        let (card, lineage) = (fleet.card(validity), Lineage::of(fleet.der.clone()));
        Self::of(fleet, lineage, card, next)
    }

    /// The same, the card's certificate by the oldest of these CAs.
    fn of(
        fleet: Authority,
        lineage: Lineage,
        card: Authority,
        next: Option<EphemeralKey>,
    ) -> (Self, CardId, PublicKey) {
        let directory = tempfile::tempdir().unwrap();
        let fleet = Arc::new(fleet);
        let (id, key) = (card.id(), card.key.public_key());
        let oldest = (lineage.former.first()).map_or(&lineage.present, |ca| &ca.certificate);
        let vault = StandInVault::start_with(directory.path(), card, next, oldest.to_vec());
        let verifier = StandInVerifier::start_with(Arc::clone(&fleet), lineage);
        let scene = Self {
            fleet,
            vault,
            verifier,
            directory,
        };
        (scene, id, key)
    }

    fn run(&self, extra: &str) -> Running {
        let (folder, socket) = (self.directory.path(), &self.vault.socket);
        let configuration = configure(folder, socket, &self.verifier, extra);
        let card = Command::new(env!("CARGO_BIN_EXE_bartizan-card"))
            .args(["run", "--config"])
            .arg(configuration)
            .env_remove("NOTIFY_SOCKET")
            .stderr(Stdio::null())
            .spawn();
        Running(card.unwrap())
    }

    fn installed(&self) -> VerifiedCertificate {
        let installed = self.vault.installed.recv_timeout(DEADLINE).unwrap();
        let installed: Vec<_> = installed.into_iter().map(Vec::from).collect();
        verify_chain(&installed, &self.fleet.ca(), now(), Usage::Card).unwrap()
    }
}

fn half_gone() -> Validity {
    (now() - 7200, now() + 3600)
}

#[test]
fn a_certificate_in_its_second_half_is_followed_by_one_for_another_key() {
    let (scene, id, key) = Scene::new(half_gone(), None);
    let ends = half_gone().1;
    let _card = scene.run("");
    let new = scene.installed();
    assert_eq!(new.card, Some(id));
    assert_ne!(new.public_key, key);
    assert!(new.not_after > ends);
    // Towards the verifier it is the next key's from now on: the former one's was used to ask.
    let deadline = Instant::now() + DEADLINE;
    while scene.vault.made() < 2 {
        assert!(Instant::now() < deadline, "no TLS key by the next one");
        std::thread::yield_now();
    }
}

#[test]
fn a_host_may_keep_its_key() {
    let (scene, id, key) = Scene::new(half_gone(), None);
    let _card = scene.run("rotate_identity: false");
    let new = scene.installed();
    assert_eq!((new.card, new.public_key), (Some(id), key));
}

#[test]
fn what_was_begun_is_finished_whenever_the_card_starts() {
    let next = EphemeralKey::generate().unwrap();
    let waits = next.public_key();
    let (scene, id, _) = Scene::new(fresh(), Some(next));
    let _card = scene.run("rotate_identity: false");
    let new = scene.installed();
    assert_eq!((new.card, new.public_key), (Some(id), waits));
}

/// It knows the verifier by the link alone, has its vault follow first, and is certified anew, though its year has just begun. Its key
/// stays, or is the one that waits.
#[test]
fn a_card_that_runs_follows_the_fleet_ca_and_is_certified_by_the_new_one() {
    for waits in [None, Some(EphemeralKey::generate().unwrap())] {
        let former = Authority::fleet();
        let (new, lineage) = former.next();
        let expected = waits.as_ref().map(EphemeralKey::public_key);
        let (scene, id, key) = Scene::of(new, lineage.clone(), former.card(fresh()), waits);
        let _card = scene.run("");
        assert_eq!(scene.vault.rolled.recv_timeout(DEADLINE).unwrap(), lineage);
        let certified = scene.installed();
        assert_eq!(certified.card, Some(id));
        assert_eq!(certified.public_key, expected.unwrap_or(key));
    }
}
