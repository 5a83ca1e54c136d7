use bartizan_boot::{BundleRefusal, BundleReply};

use super::*;
use crate::stand_in::{Key, StandIn, Turn};

const LONG: Duration = Duration::from_secs(20);

/// A host with a file, whose card takes these turns.
struct Scene {
    key: Key,
    file: PathBuf,
    in_file: Vec<u8>,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let (key, folder) = (Key::generate(), tempfile::tempdir().unwrap());
        let file = folder.path().join("bundle.release");
        let in_file = key.bundle(1);
        std::fs::write(&file, &in_file).unwrap();
        Self {
            key,
            file,
            in_file,
            folder,
        }
    }

    fn way(card: &StandIn, patience: Duration) -> Way {
        Way {
            card: Card::new(card.socket.clone()),
            patience,
        }
    }

    fn verifier_only(&self, turns: Vec<Turn>, patience: Duration) -> Result<Vec<u8>, FetchError> {
        let card = StandIn::new(turns);
        Source::Verifier(Self::way(&card, patience)).fetch(&self.key.public())
    }

    fn then_file(&self, turn: Turn) -> Result<Vec<u8>, FetchError> {
        let card = StandIn::new(vec![turn]);
        let way = Self::way(&card, Duration::ZERO);
        Source::VerifierThenFile(way, self.file.clone()).fetch(&self.key.public())
    }
}

fn refuse(refusal: BundleRefusal) -> Turn {
    Turn::Answer(BundleReply::Refused(refusal), Vec::new())
}

#[test]
fn the_file_is_one_that_the_release_key_signed() {
    let scene = Scene::new();
    let fetch = || Source::File(scene.file.clone()).fetch(&scene.key.public());
    assert_eq!(fetch().unwrap(), scene.in_file);
    std::fs::write(&scene.file, Key::generate().bundle(1)).unwrap();
    assert!(matches!(fetch(), Err(FetchError::Manifest { .. })));
    std::fs::write(&scene.file, scene.key.base()).unwrap();
    assert!(matches!(fetch(), Err(FetchError::Part { .. })));
    std::fs::write(&scene.file, "no bundle").unwrap();
    assert!(matches!(fetch(), Err(FetchError::Bundle { .. })));
    let folder = Source::File(scene.folder.path().into()).fetch(&scene.key.public());
    assert!(matches!(folder, Err(FetchError::File { .. })));
}

#[test]
fn what_the_verifier_serves_is_verified_as_a_file_is() {
    let scene = Scene::new();
    let newer = scene.key.bundle(2);
    let fetch = |turn| scene.verifier_only(vec![turn], Duration::ZERO);
    assert_eq!(fetch(Turn::serve(&newer)).unwrap(), newer);
    let strangers = fetch(Turn::serve(&Key::generate().bundle(2)));
    assert!(matches!(strangers, Err(FetchError::Manifest { .. })));
    let base = fetch(Turn::serve(&scene.key.base()));
    assert!(matches!(base, Err(FetchError::Part { .. })));
    let cut = fetch(Turn::serve(&newer[..newer.len() - 1]));
    assert!(matches!(cut, Err(FetchError::Bundle { .. })));
    let none = fetch(refuse(BundleRefusal::NotPublished));
    assert!(matches!(none, Err(FetchError::Card(_))));
}

#[test]
fn the_file_is_taken_where_nothing_is_served_and_never_in_the_place_of_what_is_wrong() {
    let scene = Scene::new();
    let newer = scene.key.bundle(2);
    assert_eq!(scene.then_file(Turn::serve(&newer)).unwrap(), newer);
    for absence in [
        refuse(BundleRefusal::NotEnrolled),
        refuse(BundleRefusal::NotPublished),
        refuse(BundleRefusal::VerifierAway("no route".into())),
        refuse(BundleRefusal::TooSlow { seconds: 180 }),
        refuse(BundleRefusal::LinkUnusable("another fleet".into())),
        // A card that ends.
        Turn::Say(Vec::new()),
    ] {
        assert_eq!(scene.then_file(absence).unwrap(), scene.in_file);
    }
    for wrong in [
        Turn::serve(&Key::generate().bundle(2)),
        Turn::serve(&scene.key.base()),
        Turn::serve(b"no bundle"),
        refuse(BundleRefusal::TooLarge),
        refuse(BundleRefusal::VerifierUnclear("no HTTP".into())),
    ] {
        let error = scene.then_file(wrong).unwrap_err();
        assert!(!error.is_absence(), "{error}");
    }
}

#[test]
fn an_absence_that_may_pass_is_waited_for_and_no_other() {
    let scene = Scene::new();
    let newer = scene.key.bundle(2);
    let away = || refuse(BundleRefusal::VerifierAway("no route".into()));
    let turns = vec![away(), Turn::serve(&newer)];
    assert_eq!(scene.verifier_only(turns, LONG).unwrap(), newer);
    // The second turn is never taken.
    let turns = vec![refuse(BundleRefusal::NotPublished), Turn::serve(&newer)];
    let begun = Instant::now();
    assert!(scene.verifier_only(turns, LONG).is_err());
    assert!(begun.elapsed() < RETRY);
}
