use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyUsagePurpose};

use super::*;

struct Scene {
    folder: tempfile::TempDir,
    anchor: Anchor,
    ca: CertifiedIssuer<'static, EphemeralKey>,
}

/// A guest that has enrolled.
fn scene() -> Scene {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let ca = CertifiedIssuer::self_signed(params, EphemeralKey::generate().unwrap()).unwrap();
    let fleet_ca = FleetCa::from_der(ca.der()).unwrap();
    let pinned = format!("bartizan.anchor={}", hex::encode(fleet_ca.sha256()));
    let scene = Scene {
        folder: tempfile::tempdir().unwrap(),
        anchor: Anchor::from_command_line(&pinned).unwrap(),
        ca,
    };
    let guest = format!(
        "urn:bartizan:guest:{}:00000000-0000-0000-0000-000000000001:1",
        "ab".repeat(32)
    );
    let key = EphemeralKey::generate().unwrap();
    let chain = scene.certified(&key);
    let enrollment = Enrollment::new(key, guest.parse().unwrap(), fleet_ca, &chain);
    enrollment.store(scene.folder.path()).unwrap();
    scene
}

impl Scene {
    fn certified(&self, key: &EphemeralKey) -> Vec<Vec<u8>> {
        let certificate = CertificateParams::default().signed_by(key, &self.ca);
        vec![certificate.unwrap().der().to_vec()]
    }

    fn load(&self) -> Enrollment {
        Enrollment::load_under(&self.anchor, self.folder.path()).unwrap()
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
    let chain = scene.certified(&renewing.key);
    renewing.finish(&chain).unwrap();
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
    let chain = scene.certified(&renewing.key);
    let next = fs::read(scene.folder.path().join(NEXT)).unwrap();
    let former = fs::read(scene.folder.path().join(KEY)).unwrap();
    renewing.finish(&chain).unwrap();
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
    let stranger = EphemeralKey::generate().unwrap();
    fs::write(scene.folder.path().join(KEY), stranger.pkcs8_der()).unwrap();
    let refused = Enrollment::load_under(&scene.anchor, scene.folder.path());
    assert!(matches!(refused, Err(StateError::OtherKey)));
}
