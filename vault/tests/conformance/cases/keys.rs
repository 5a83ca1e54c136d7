//! Keys: what they sign for, and what they do not.

use std::thread;

use bartizan_attestation::keys::Purpose;
use bartizan_vault::backend::{StoredKey, curve};

use super::{Key, PURPOSES, is_sealed};
use crate::rig::{Rig, Store};

pub(super) fn every_purpose_signs_both_ways(rig: &dyn Rig) {
    let backend = rig.open(Store::First);
    for purpose in PURPOSES {
        let key = Key::make(&backend, purpose);
        assert_eq!(key.made.public.curve(), curve(purpose));
        key.sign(&backend).unwrap();
    }
}

pub(super) fn a_key_signs_after_a_restart(rig: &dyn Rig) {
    let backend = rig.open(Store::First);
    let keys = PURPOSES.map(|purpose| Key::make(&backend, purpose));
    drop(backend);
    let backend = rig.open(Store::First);
    for key in keys {
        key.sign(&backend).unwrap();
    }
}

pub(super) fn another_purpose_is_refused(rig: &dyn Rig) {
    let backend = rig.open(Store::First);
    for made_for in PURPOSES {
        let key = Key::make(&backend, made_for);
        key.sign(&backend).unwrap();
        for purpose in PURPOSES.into_iter().filter(|purpose| *purpose != made_for) {
            let signed = key.sign_as(&backend, purpose, &key.stored());
            assert!(
                is_sealed(&signed),
                "{made_for:?} as {purpose:?}: {signed:?}"
            );
        }
    }
}

pub(super) fn an_altered_blob_is_refused(rig: &dyn Rig) {
    let backend = rig.open(Store::First);
    let mut key = Key::make(&backend, Purpose::TlsServer);
    key.sign(&backend).unwrap();
    for at in 0..key.made.blob.len() {
        key.made.blob[at] ^= 1;
        let signed = key.sign(&backend);
        assert!(is_sealed(&signed), "byte {at}: {signed:?}");
        key.made.blob[at] ^= 1;
    }
    let whole = key.made.blob.clone();
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        key.made.blob.truncate(length);
        assert!(is_sealed(&key.sign(&backend)), "{length} bytes");
        key.made.blob.clone_from(&whole);
    }
    key.made.blob.push(0);
    assert!(is_sealed(&key.sign(&backend)), "a byte more");
}

pub(super) fn a_blob_of_another_key_is_refused(rig: &dyn Rig) {
    let backend = rig.open(Store::First);
    let one = Key::make(&backend, Purpose::Token);
    let other = Key::make(&backend, Purpose::Token);
    let mixed = StoredKey {
        id: &one.id,
        blob: &other.made.blob,
    };
    let signed = one.sign_as(&backend, Purpose::Token, &mixed);
    assert!(is_sealed(&signed), "{signed:?}");
    one.sign(&backend).unwrap();
    other.sign(&backend).unwrap();
}

pub(super) fn a_key_of_another_store_is_refused(rig: &dyn Rig) {
    let backend = rig.open(Store::First);
    let key = Key::make(&backend, Purpose::FleetCa);
    drop(backend);
    let backend = rig.open(Store::Second);
    let signed = key.sign(&backend);
    assert!(is_sealed(&signed), "{signed:?}");
}

pub(super) fn a_destroyed_key_is_gone(rig: &dyn Rig) {
    let backend = rig.open(Store::First);
    let gone = Key::make(&backend, Purpose::TlsClient);
    let kept = Key::make(&backend, Purpose::TlsClient);
    gone.sign(&backend).unwrap();
    backend.destroy(gone.purpose, &gone.stored()).unwrap();
    // Who asks again after a crash is not told that it failed.
    backend.destroy(gone.purpose, &gone.stored()).unwrap();
    kept.sign(&backend).unwrap();
    // The blob is the whole key of the back ends without a token: without it there is nothing to be used.
    if rig.keeps_keys() {
        let signed = gone.sign(&backend);
        assert!(is_sealed(&signed), "{signed:?}");
    }
}

pub(super) fn tags_are_one_stores_own(rig: &dyn Rig) {
    let backend = rig.open(Store::First);
    let long = vec![7; 100_000];
    let tags = [b"store".as_slice(), b"stare", b"", &long].map(|text| {
        let tag = backend.authenticate(text).unwrap();
        assert_eq!(backend.authenticate(text).unwrap(), tag);
        (text, tag)
    });
    drop(backend);
    let backend = rig.open(Store::First);
    for (at, (text, tag)) in tags.iter().enumerate() {
        assert_eq!(backend.authenticate(text).unwrap(), *tag);
        assert!(tags[..at].iter().all(|(_, other)| other != tag));
    }
    drop(backend);
    let backend = rig.open(Store::Second);
    for (text, tag) in tags {
        assert_ne!(backend.authenticate(text).unwrap(), tag);
    }
}

pub(super) fn eight_threads_sign(rig: &dyn Rig) {
    let backend = rig.open(Store::First);
    let keys = PURPOSES.map(|purpose| Key::make(&backend, purpose));
    thread::scope(|scope| {
        for first in 0..8 {
            let (backend, keys) = (&backend, &keys);
            scope.spawn(move || {
                for turn in 0..10 {
                    keys[(first + turn) % keys.len()].sign(backend).unwrap();
                }
            });
        }
    });
}
