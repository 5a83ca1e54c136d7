use super::*;
use crate::secret::SecretError;

fn software(folder: &std::path::Path) -> Software {
    Software::new(RootKey::make_file(&folder.join("root.key")).unwrap())
}

fn stored<'a>(id: &'a [u8; 32], key: &'a NewKey) -> StoredKey<'a> {
    StoredKey {
        id,
        blob: &key.blob,
    }
}

#[test]
fn a_key_signs_for_its_purpose_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    for purpose in [Purpose::CardIdentity, Purpose::Token] {
        let key = software(folder.path()).generate(purpose).unwrap();
        let id = key.public.sha256();
        let again = software(folder.path());
        let fixed = again
            .sign(purpose, &stored(&id, &key), b"message", Encoding::Fixed)
            .unwrap();
        assert!(key.public.verify(b"message", &fixed).is_ok());
        let der = again
            .sign(purpose, &stored(&id, &key), b"message", Encoding::Der)
            .unwrap();
        assert!(key.public.verify_der(b"message", &der).is_ok());
    }
}

#[test]
fn a_sealed_key_opens_for_no_other_purpose_key_or_root() {
    let folder = tempfile::tempdir().unwrap();
    let software = software(folder.path());
    let key = software.generate(Purpose::TlsServer).unwrap();
    let id = key.public.sha256();
    let sealed = |result| matches!(result, Err(BackendError::Sealed { .. }));
    assert!(sealed(software.sign(
        Purpose::TlsClient,
        &stored(&id, &key),
        b"",
        Encoding::Der
    )));
    assert!(sealed(software.sign(
        Purpose::TlsServer,
        &stored(&[0; 32], &key),
        b"",
        Encoding::Der
    )));
    let elsewhere = tempfile::tempdir().unwrap();
    let other = super::tests::software(elsewhere.path());
    assert!(sealed(other.sign(
        Purpose::TlsServer,
        &stored(&id, &key),
        b"",
        Encoding::Der
    )));
}

#[test]
fn any_altered_byte_keeps_the_key_shut() {
    let folder = tempfile::tempdir().unwrap();
    let software = software(folder.path());
    let mut key = software.generate(Purpose::FleetCa).unwrap();
    let id = key.public.sha256();
    for at in 0..key.blob.len() {
        key.blob[at] ^= 1;
        let signed = software.sign(Purpose::FleetCa, &stored(&id, &key), b"", Encoding::Der);
        assert!(
            matches!(signed, Err(BackendError::Sealed { .. })),
            "byte {at}"
        );
        key.blob[at] ^= 1;
    }
}

#[test]
fn the_private_key_is_not_in_the_blob() {
    let folder = tempfile::tempdir().unwrap();
    let software = software(folder.path());
    let key = software.generate(Purpose::FleetCa).unwrap();
    let id = key.public.sha256();
    let pkcs8 = software
        .unseal(Purpose::FleetCa, &stored(&id, &key))
        .unwrap();
    assert!(
        !key.blob
            .windows(16)
            .any(|window| pkcs8.windows(16).any(|secret| secret == window))
    );
}

#[test]
fn a_root_key_is_never_made_up_for_a_store_that_has_one() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(
        RootKey::from_file(&folder.path().join("root.key")),
        Err(RootKeyError::Secret(SecretError::File { .. }))
    ));
}

#[test]
fn a_key_in_use_opens_for_nothing_else_either() {
    let folder = tempfile::tempdir().unwrap();
    let software = software(folder.path());
    let mut key = software.generate(Purpose::TlsServer).unwrap();
    let id = key.public.sha256();
    let sign = |purpose, key: &StoredKey<'_>| software.sign(purpose, key, b"", Encoding::Der);
    assert!(sign(Purpose::TlsServer, &stored(&id, &key)).is_ok());
    assert!(sign(Purpose::TlsClient, &stored(&id, &key)).is_err());
    assert!(sign(Purpose::TlsServer, &stored(&[0; 32], &key)).is_err());
    key.blob[20] ^= 1;
    assert!(sign(Purpose::TlsServer, &stored(&id, &key)).is_err());
}

#[test]
fn more_keys_than_are_kept_open_are_all_usable() {
    let folder = tempfile::tempdir().unwrap();
    let software = software(folder.path());
    let keys: Vec<_> = (0..12)
        .map(|_| software.generate(Purpose::Token).unwrap())
        .collect();
    for key in keys.iter().chain(&keys) {
        let id = key.public.sha256();
        let signed = software.sign(Purpose::Token, &stored(&id, key), b"x", Encoding::Fixed);
        assert!(key.public.verify(b"x", &signed.unwrap()).is_ok());
    }
}

#[test]
fn a_root_key_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("root.key");
    RootKey::make_file(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(
        RootKey::from_file(&path),
        Err(RootKeyError::Secret(SecretError::Exposed {
            mode: 0o640,
            ..
        }))
    ));
}

#[test]
fn a_passphrase_gives_the_same_key_again_and_another_does_not() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let root = |path: &std::path::Path| RootKey::from_passphrase(path, &[1; 32]);
    let right = file("right", "correct horse battery\n");
    let key = Software::new(root(&right).unwrap())
        .generate(Purpose::Token)
        .unwrap();
    let id = key.public.sha256();
    let sign =
        |root| Software::new(root).sign(Purpose::Token, &stored(&id, &key), b"", Encoding::Fixed);
    assert!(sign(root(&right).unwrap()).is_ok());
    assert!(sign(root(&file("wrong", "incorrect horse battery")).unwrap()).is_err());
    assert!(matches!(
        root(&file("short", "short")),
        Err(RootKeyError::ShortPassphrase { .. })
    ));
}
