//! What holds for tokens alone, as an independent program of another library sees it.

use std::process::Command;

use bartizan_attestation::cose::{Curve, PublicKey};
use bartizan_attestation::keys::Purpose;
use bartizan_vault::backend::{BackendError, DeviceError, Encoding, StoredKey};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeInfo, AttributeType};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;

use super::label;
use crate::Case;
use crate::cases::PURPOSES;
use crate::programs::demand;
use crate::rig::{Rig, Store};
use crate::tokens::{MODULE, PIN};

pub(crate) const CASES: &[Case] = &[
    ("keys_cannot_be_read_out", keys_cannot_be_read_out),
    (
        "keys_that_could_be_read_out_are_refused",
        keys_that_could_be_read_out_are_refused,
    ),
    (
        "a_wrong_pin_is_not_tried_again",
        a_wrong_pin_is_not_tried_again,
    ),
    (
        "destroyed_keys_leave_the_token",
        destroyed_keys_leave_the_token,
    ),
];

/// What the keys of all purposes are called, in their order.
const NAMES: [&str; PURPOSES.len()] = [
    "fleet-ca",
    "card-identity",
    "tls-server",
    "tls-client",
    "token",
];

fn tool() -> Command {
    let mut tool = Command::new("pkcs11-tool");
    tool.args(["--module", MODULE, "--login", "--pin", PIN]);
    tool.args(["--token-label", &label(Store::First)]);
    tool
}

fn keys_cannot_be_read_out(rig: &dyn Rig) {
    let backend = rig.open(Store::First);
    let ids = PURPOSES.map(|purpose| backend.generate(purpose).unwrap().public.sha256());
    let listed = demand(tool().args(["--list-objects", "--type", "privkey"]));
    let objects: Vec<_> = listed.split("Private Key Object").skip(1).collect();
    assert_eq!(objects.len(), PURPOSES.len(), "{listed}");
    for (name, id) in NAMES.into_iter().zip(ids) {
        let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let found = objects.iter().find(|object| object.contains(&hex));
        let object = found.unwrap_or_else(|| panic!("no key for {name}: {listed}"));
        for said in [
            &format!("bartizan-vault/1/{name}\n"),
            "Usage:      sign\n",
            "sensitive, always sensitive, never extractable, local",
        ] {
            assert!(object.contains(said), "{name}: {said}: {object}");
        }
    }
    let listed = demand(tool().args(["--list-objects", "--type", "secrkey"]));
    assert!(listed.contains("never extractable"), "{listed}");
    drop(backend);
    let session = session();
    let keys = session.find_objects(&[Attribute::Token(true)]).unwrap();
    assert_eq!(keys.len(), PURPOSES.len() + 1, "those, and the store's key");
    for key in keys {
        let value = AttributeType::Value;
        let found = session.get_attribute_info(key, &[value]).unwrap();
        assert!(matches!(*found, [AttributeInfo::Sensitive]), "{found:?}");
        assert_eq!(session.get_attributes(key, &[value]).unwrap(), []);
        let wanted = [Attribute::Extractable(true)];
        assert!(session.update_attributes(key, &wanted).is_err());
    }
}

/// A session that knows nothing of the vault.
fn session() -> Session {
    let module = Pkcs11::new(MODULE).unwrap();
    let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
    // The vault may have done so: a module is one for the whole process.
    let _initialised = module.initialize(arguments);
    let slots = module.get_slots_with_initialized_token().unwrap();
    let right = |slot: &Slot| {
        let token = module.get_token_info(*slot).unwrap();
        token.label().trim_end() == label(Store::First)
    };
    let slot = slots.into_iter().find(right).unwrap();
    let session = module.open_rw_session(slot).unwrap();
    let pin = AuthPin::from(PIN.to_owned());
    let _logged_in = session.login(UserType::User, Some(&pin));
    session
}

/// A key that somebody made in the token with the right names, to know it outside, too.
fn keys_that_could_be_read_out_are_refused(rig: &dyn Rig) {
    let backend = rig.open(Store::First);
    let session = session();
    let p256 = vec![0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    let name = b"bartizan-vault/1/token";
    for exposing in [
        Attribute::Extractable(true),
        Attribute::Sensitive(false),
        Attribute::Derive(true),
    ] {
        let public = [Attribute::EcParams(p256.clone())];
        let mut private = vec![
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sign(true),
            Attribute::Label(name.to_vec()),
        ];
        for safe in [
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Decrypt(false),
            Attribute::Unwrap(false),
            Attribute::Derive(false),
        ] {
            if safe.attribute_type() != exposing.attribute_type() {
                private.push(safe);
            }
        }
        private.push(exposing.clone());
        let (public, private) = session
            .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)
            .unwrap();
        let point = session
            .get_attributes(public, &[AttributeType::EcPoint])
            .unwrap();
        let Attribute::EcPoint(point) = &point[0] else {
            panic!("{point:?}")
        };
        let key = PublicKey::from_point(Curve::P256, &point[2..]).unwrap();
        let id = key.sha256();
        session
            .update_attributes(private, &[Attribute::Id(id.to_vec())])
            .unwrap();
        let blob = [name.as_slice(), &[0], &key.spki_der()].concat();
        let stored = StoredKey {
            id: &id,
            blob: &blob,
        };
        let signed = backend.sign(Purpose::Token, &stored, b"", Encoding::Fixed);
        assert!(
            matches!(signed, Err(BackendError::Exposed { .. })),
            "{exposing:?}: {signed:?}"
        );
    }
}

fn a_wrong_pin_is_not_tried_again(rig: &dyn Rig) {
    let backend = rig.open(Store::First);
    let away = || match backend.authenticate(b"store") {
        Err(BackendError::Away { source, .. }) => source,
        other => panic!("{other:?}"),
    };
    let change = |old: &str, new: &str| {
        let mut tool = Command::new("pkcs11-tool");
        tool.args(["--module", MODULE, "--token-label", &label(Store::First)]);
        demand(tool.args(["--login", "--pin", old, "--change-pin", "--new-pin", new]));
    };
    rig.take_away();
    assert!(!matches!(away(), DeviceError::Pin));
    rig.put_back();
    change(PIN, "another-horse");
    assert!(matches!(away(), DeviceError::Pin));
    // It would be right again, but nobody asks.
    change("another-horse", PIN);
    assert!(matches!(away(), DeviceError::Pin));
    drop(backend);
    rig.open(Store::First).authenticate(b"store").unwrap();
}

fn destroyed_keys_leave_the_token(rig: &dyn Rig) {
    let backend = rig.open(Store::First);
    let key = backend.generate(Purpose::TlsClient).unwrap();
    let id = key.public.sha256();
    let listed = || demand(tool().args(["--list-objects", "--type", "privkey"]));
    assert!(listed().contains("tls-client"));
    let stored = StoredKey {
        id: &id,
        blob: &key.blob,
    };
    backend.destroy(Purpose::TlsClient, &stored).unwrap();
    assert!(!listed().contains("tls-client"));
}
