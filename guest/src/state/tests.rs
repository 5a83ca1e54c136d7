mod fleet;

use super::*;
use fleet::{Fleet, guest};

struct Scene {
    folder: tempfile::TempDir,
    anchor: Anchor,
    fleet: Fleet,
}

/// A guest that has enrolled.
fn scene() -> Scene {
    let fleet = Fleet::new();
    let pinned = format!("bartizan.anchor={}", hex::encode(fleet.ca.sha256()));
    let scene = Scene {
        folder: tempfile::tempdir().unwrap(),
        anchor: Anchor::from_command_line(&pinned).unwrap(),
        fleet,
    };
    scene.enrol(&scene.fleet.chain(&scene.key(), guest(&scene.fleet, 1)));
    scene
}

impl Scene {
    /// A fresh key, kept as the enrolled one.
    fn key(&self) -> EphemeralKey {
        let key = EphemeralKey::generate().unwrap();
        fs::write(self.folder.path().join(KEY), key.pkcs8_der()).unwrap();
        key
    }

    /// Keeps a chain for boot 1, whatever it is.
    fn enrol(&self, chain: &[Vec<u8>]) {
        self.enrol_under(&self.lineage(), guest(&self.fleet, 1), chain);
    }

    fn enrol_under(&self, lineage: &Lineage, guest: GuestIdentity, chain: &[Vec<u8>]) {
        let document = Document {
            guest: guest.to_string(),
            fleet_ca: hex::encode(self.fleet.ca.der()),
            fleet_cas: hex::encode(cbor::encode(lineage)),
            chain: chain.iter().map(hex::encode).collect(),
        };
        let document = serde_json::to_vec(&document).unwrap();
        fs::write(self.folder.path().join(DOCUMENT), document).unwrap();
    }

    /// That of a fleet whose CA was never replaced.
    fn lineage(&self) -> Lineage {
        Lineage::of(self.fleet.ca.der().to_vec())
    }

    fn anchored(&self) -> LinkedCa {
        LinkedCa::new(&self.fleet.ca, self.lineage()).unwrap()
    }

    fn certified(&self, key: &EphemeralKey) -> GuestCertificate {
        let chain = self.fleet.chain(key, guest(&self.fleet, 1));
        GuestCertificate::verify(chain, &self.fleet.ca, unix_now()).unwrap()
    }

    fn try_load(&self) -> Result<Enrollment, StateError> {
        Enrollment::load_under(&self.anchor, self.folder.path())
    }

    fn load(&self) -> Enrollment {
        self.try_load().unwrap()
    }

    fn begin(&self) -> Renewing {
        Renewing::begin_under(&self.anchor, self.folder.path()).unwrap()
    }
}

#[test]
fn a_renewal_takes_the_former_keys_place() {
    let scene = scene();
    let former = scene.load();
    let renewing = scene.begin();
    assert_eq!(renewing.enrolled.key.public_key(), former.key.public_key());
    let key = renewing.key.public_key();
    let certificate = scene.certified(&renewing.key);
    let chain = certificate.chain.clone();
    renewing.finish(certificate, scene.anchored()).unwrap();
    let renewed = scene.load();
    assert_eq!((renewed.key.public_key(), &renewed.chain), (key, &chain));
    assert_eq!(renewed.guest, former.guest);
    assert!(!scene.folder.path().join(NEXT).exists());
}

#[test]
fn a_renewal_that_was_killed_before_its_answer_asks_for_the_same_key_again() {
    let scene = scene();
    let asked_for = scene.begin().key.public_key();
    assert_ne!(scene.load().key.public_key(), asked_for);
    assert_eq!(scene.begin().key.public_key(), asked_for);
}

#[test]
fn a_renewal_that_was_killed_while_it_kept_the_answer_is_whole() {
    let scene = scene();
    let renewing = scene.begin();
    let key = renewing.key.public_key();
    let certificate = scene.certified(&renewing.key);
    let next = fs::read(scene.folder.path().join(NEXT)).unwrap();
    let former = fs::read(scene.folder.path().join(KEY)).unwrap();
    renewing.finish(certificate, scene.anchored()).unwrap();
    // Killed between the document and the key.
    fs::write(scene.folder.path().join(NEXT), next).unwrap();
    fs::write(scene.folder.path().join(KEY), former).unwrap();
    assert_eq!(scene.load().key.public_key(), key);
    let again = scene.begin();
    assert_eq!(again.enrolled.key.public_key(), key);
    assert_ne!(
        again.key.public_key(),
        key,
        "the next key must be a fresh one"
    );
}

#[test]
fn a_key_that_is_not_the_certificates_is_refused() {
    let scene = scene();
    scene.key();
    assert!(matches!(scene.try_load(), Err(StateError::OtherKey)));
}

#[test]
fn a_certificate_that_does_not_lead_to_the_anchored_fleet_is_refused() {
    let scene = scene();
    let stranger = Fleet::new();
    let key = scene.key();
    scene.enrol(&stranger.chain(&key, guest(&stranger, 1)));
    let refused = scene.try_load();
    assert!(matches!(refused, Err(StateError::Chain(_))));
    // Nor is a chain without the card's certificate.
    scene.enrol(&scene.fleet.chain(&key, guest(&scene.fleet, 1))[..1]);
    let refused = scene.try_load();
    assert!(matches!(refused, Err(StateError::Chain(_))));
}

#[test]
fn a_certificate_of_another_boot_is_refused() {
    let scene = scene();
    let key = scene.key();
    scene.enrol(&scene.fleet.chain(&key, guest(&scene.fleet, 2)));
    assert!(matches!(scene.try_load(), Err(StateError::OtherGuest)));
}

#[test]
fn an_expired_certificate_says_what_to_do() {
    let scene = scene();
    let key = scene.key();
    scene.enrol(&scene.fleet.expired_chain(&key, guest(&scene.fleet, 1)));
    let refused = scene.try_load().err().unwrap();
    assert!(matches!(refused, StateError::Expired));
    assert!(refused.to_string().contains("renew --watch"), "{refused}");
}

#[test]
fn a_clock_that_is_behind_is_told_and_no_reboot_asked_for() {
    let scene = scene();
    let key = scene.key();
    scene.enrol(&scene.fleet.future_chain(&key, guest(&scene.fleet, 1)));
    let refused = scene.try_load().err().unwrap();
    assert!(matches!(refused, StateError::NotYetValid));
    let said = refused.to_string();
    assert!(said.contains("clock") && !said.contains("reboot"), "{said}");
}

/// The fleet CA was replaced since the guest was launched.
#[test]
fn a_key_that_is_certified_under_the_next_ca_is_read_back_by_the_link_alone() {
    let scene = scene();
    let (next, lineage) = scene.fleet.next();
    let key = scene.key();
    let named = guest(&next, 1);
    let chain = next.chain(&key, named);
    scene.enrol_under(&lineage, named, &chain);
    let loaded = scene.load();
    assert_eq!(loaded.anchored.ca().sha256(), scene.fleet.ca.sha256());
    assert_eq!(**loaded.anchored.lineage(), lineage);
    scene.enrol_under(&scene.lineage(), named, &chain);
    assert!(matches!(
        scene.try_load(),
        Err(StateError::Chain(ChainError::ForeignCa))
    ));
    let (_, elsewhere) = Fleet::new().next();
    scene.enrol_under(&elsewhere, named, &chain);
    let refused = scene.try_load();
    assert!(matches!(
        refused,
        Err(StateError::Anchor(AnchorError::Lineage(_)))
    ));
}
