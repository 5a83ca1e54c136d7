//! The device goes away and comes back; the vault goes on.

use bartizan_attestation::keys::Purpose;
use bartizan_vault::backend::{BackendError, Encoding};

use super::Key;
use crate::rig::{Rig, Store};

pub(super) fn a_device_that_comes_back_is_found(rig: &dyn Rig) {
    if !rig.has_device() {
        return;
    }
    let backend = rig.open(Store::First);
    let key = Key::make(&backend, Purpose::TlsServer);
    let tag = backend.authenticate(b"store").unwrap();
    for _ in 0..2 {
        key.sign(&backend).unwrap();
        rig.take_away();
        for _ in 0..3 {
            let away = |error| matches!(error, BackendError::Away { .. });
            let signed = backend.sign(key.purpose, &key.stored(), b"x", Encoding::Der);
            assert!(away(signed.unwrap_err()));
            assert!(away(backend.authenticate(b"store").unwrap_err()));
            assert!(away(backend.generate(Purpose::Token).unwrap_err()));
        }
        rig.put_back();
        key.sign(&backend).unwrap();
        assert_eq!(backend.authenticate(b"store").unwrap(), tag);
        Key::make(&backend, Purpose::Token).sign(&backend).unwrap();
    }
}

pub(super) fn a_device_that_was_away_unseen_is_found(rig: &dyn Rig) {
    if !rig.has_device() {
        return;
    }
    let backend = rig.open(Store::First);
    let key = Key::make(&backend, Purpose::TlsServer);
    let tag = backend.authenticate(b"store").unwrap();
    rig.take_away();
    rig.put_back();
    assert_eq!(backend.authenticate(b"store").unwrap(), tag);
    rig.take_away();
    rig.put_back();
    key.sign(&backend).unwrap();
    rig.take_away();
    rig.put_back();
    Key::make(&backend, Purpose::FleetCa)
        .sign(&backend)
        .unwrap();
}
