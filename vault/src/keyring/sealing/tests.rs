use std::fs;
use std::path::Path;
use std::sync::Arc;

use bartizan_attestation::keys::{KeyEventKind, KeyKind, Purpose};

use super::*;
use crate::backend::{Encoding, NewKey, StoredKey};
use crate::keyring::Record;
use crate::keyring::StoredKeyring;
use crate::software::{RootKey, Software};

const NOW: u64 = 1_795_000_000;

/// A store with a key, and the key file beside it.
fn begun(folder: &Path) -> (Keyring, NewKey) {
    let root = RootKey::make_file(&folder.join("root.key")).unwrap();
    let mut keyring = open(folder, Software::new(root)).unwrap();
    let made = add_key(&mut keyring);
    (keyring, made)
}

fn add_key(keyring: &mut Keyring) -> NewKey {
    let made = keyring.backend.generate(Purpose::Token).unwrap();
    let record = Record {
        purpose: Purpose::Token,
        id: made.public.sha256().into(),
        blob: made.blob.clone().into(),
        chain: Vec::new(),
        not_after: u64::MAX,
        public: made.public.spki_der().into(),
    };
    keyring.add(record, NOW).unwrap();
    made
}

fn open(folder: &Path, backend: Software) -> Result<Keyring, KeyringError> {
    StoredKeyring::read(&folder.join("keys"))?.open(Arc::new(backend))
}

fn by_the_key_file(folder: &Path) -> Result<Keyring, KeyringError> {
    open(
        folder,
        Software::new(RootKey::from_file(&folder.join("root.key")).unwrap()),
    )
}

fn signs(keyring: &Keyring, key: &NewKey) {
    let record = keyring.newest(Purpose::Token).unwrap();
    let signed = keyring.backend.sign(
        Purpose::Token,
        &record.stored(),
        b"message",
        Encoding::Fixed,
    );
    assert!(key.public.verify(b"message", &signed.unwrap()).is_ok());
}

#[test]
fn keys_sign_on_and_nothing_of_before_opens_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (mut keyring, key) = begun(folder);
    let before = fs::read(folder.join("keys")).unwrap();
    let former = fs::read(folder.join("root.key")).unwrap();
    keyring.rotate_sealing(NOW).unwrap();
    signs(&keyring, &key);
    assert_ne!(fs::read(folder.join("root.key")).unwrap(), former);
    assert!(!folder.join("root.key.next").exists());
    // What the former one sealed is not opened by the new one.
    let blob = keyring.newest(Purpose::Token).unwrap().blob.to_vec();
    assert_ne!(blob, key.blob);
    let old = StoredKey {
        id: &key.public.sha256(),
        blob: &key.blob,
    };
    let refused = keyring
        .backend
        .sign(Purpose::Token, &old, b"", Encoding::Fixed);
    assert!(refused.is_err());
    signs(&by_the_key_file(folder).unwrap(), &key);
    // Again, and what is written after it is sealed by it, too.
    keyring.rotate_sealing(NOW + 1).unwrap();
    keyring.revoke(Purpose::Token, &[0; 32], NOW).unwrap();
    signs(&by_the_key_file(folder).unwrap(), &key);
    let words: Vec<_> = (keyring.history().iter())
        .filter(|event| event.kind == KeyKind::Sealing)
        .map(|event| event.what.word())
        .collect();
    assert_eq!(words, ["superseded", "made", "destroyed"].repeat(2));
    fs::write(folder.join("keys"), before).unwrap();
    assert!(matches!(
        by_the_key_file(folder),
        Err(KeyringError::Altered { .. })
    ));
}

#[test]
fn a_crash_before_the_store_is_replaced_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (keyring, key) = begun(folder);
    drop(keyring.backend.next_sealing(Generation([1; 32])).unwrap());
    let left = RootKey::left_of(&folder.join("root.key")).unwrap().unwrap();
    let stored = StoredKeyring::read(&folder.join("keys")).unwrap();
    assert!(!stored.is_sealed_by(&Software::new(left)).unwrap());
    let mut again = by_the_key_file(folder).unwrap();
    signs(&again, &key);
    again.rotate_sealing(NOW).unwrap();
    signs(&by_the_key_file(folder).unwrap(), &key);
}

#[test]
fn a_crash_after_the_store_is_replaced_is_made_good_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (keyring, key) = begun(folder);
    let salt = [1; 32];
    let next = keyring.backend.next_sealing(Generation(salt)).unwrap();
    let mut contents = keyring.contents.clone();
    contents.reseal(&*keyring.backend, &*next).unwrap();
    let tag = |store: &[u8]| next.authenticate(store);
    file::save(&keyring.path, &salt, &contents, tag).unwrap();
    drop(next);
    assert!(matches!(
        by_the_key_file(folder),
        Err(KeyringError::Altered { .. })
    ));
    let left = RootKey::left_of(&folder.join("root.key")).unwrap().unwrap();
    let left = Software::new(left);
    let stored = StoredKeyring::read(&folder.join("keys")).unwrap();
    assert!(stored.is_sealed_by(&left).unwrap());
    left.take_key_file().unwrap();
    signs(&stored.open(Arc::new(left)).unwrap(), &key);
    signs(&by_the_key_file(folder).unwrap(), &key);
}

/// Whoever may only read the key file has it replaced all the same.
#[test]
fn a_key_file_that_is_read_only_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (mut keyring, key) = begun(folder);
    let path = folder.join("root.key");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
    keyring.rotate_sealing(NOW).unwrap();
    keyring.rotate_sealing(NOW).unwrap();
    signs(&by_the_key_file(folder).unwrap(), &key);
}

/// The key file cannot be replaced: what the store was sealed by stays beside it, and is never written over.
#[test]
fn a_key_that_cannot_take_its_place_is_kept_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (mut keyring, key) = begun(folder);
    let path = folder.join("root.key");
    let aside = folder.join("aside");
    fs::rename(&path, &aside).unwrap();
    fs::create_dir(&path).unwrap();
    keyring.rotate_sealing(NOW).unwrap();
    let told = keyring.history().last().unwrap().what.word();
    assert_eq!(told, "not-destroyed");
    signs(&keyring, &key);
    let left = fs::read(folder.join("root.key.next")).unwrap();
    keyring.rotate_sealing(NOW).unwrap_err();
    assert_eq!(fs::read(folder.join("root.key.next")).unwrap(), left);
    fs::remove_dir(&path).unwrap();
    fs::rename(&aside, &path).unwrap();
    keyring.rotate_sealing(NOW).unwrap();
    signs(&by_the_key_file(folder).unwrap(), &key);
}

#[test]
fn a_file_of_a_rotation_that_was_not_written_whole_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("root.key");
    assert!(RootKey::left_of(&path).unwrap().is_none());
    for bytes in [&[][..], &[1; 31], &[1; 33]] {
        let next = folder.path().join("root.key.next");
        fs::write(&next, bytes).unwrap();
        fs::set_permissions(&next, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        assert!(RootKey::left_of(&path).unwrap().is_none());
    }
}

#[test]
fn a_passphrase_is_stretched_otherwise_and_serves_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("passphrase");
    fs::write(&path, "correct horse battery").unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let reopened = || {
        let stored = StoredKeyring::read(&folder.path().join("keys")).unwrap();
        let root = RootKey::from_passphrase(&path, stored.salt()).unwrap();
        stored.open(Arc::new(Software::new(root)))
    };
    let mut keyring = reopened().unwrap();
    let made = add_key(&mut keyring);
    keyring.rotate_sealing(NOW).unwrap();
    signs(&keyring, &made);
    signs(&reopened().unwrap(), &made);
}

#[test]
fn one_is_made_each_year() {
    let folder = tempfile::tempdir().unwrap();
    let (mut keyring, key) = begun(folder.path());
    let made = |keyring: &Keyring| {
        let is_it = |what: &KeyEventKind| matches!(what, KeyEventKind::Made);
        let events = keyring.history().iter();
        events
            .filter(|event| event.kind == KeyKind::Sealing && is_it(&event.what))
            .count()
    };
    assert!(!keyring.is_sealing_fresh(NOW));
    for (after_days, rotations) in [(0, 0), (1, 0), (364, 0), (366, 1), (367, 1), (2 * 366, 2)] {
        let now = NOW + after_days * 86_400;
        keyring.rotate_sealing_if_due(now).unwrap();
        assert!(keyring.is_sealing_fresh(now));
        assert_eq!(made(&keyring), rotations, "after {after_days} days");
    }
    // The clock was ahead, and is right again.
    keyring.rotate_sealing_if_due(NOW + 1).unwrap();
    assert_eq!(made(&keyring), 3);
    signs(&keyring, &key);
}
