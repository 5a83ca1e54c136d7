//! Public keys as SubjectPublicKeyInfo.
#![no_main]

use bartizan_attestation::cose::PublicKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(key) = PublicKey::from_spki_der(data) else {
        return;
    };
    assert_eq!(key.spki_der(), data, "two spellings of one key");
    assert_eq!(
        PublicKey::from_point(key.curve(), key.point()).as_ref(),
        Ok(&key)
    );
    assert!(key.verify(b"", &[0; 96]).is_err() && key.verify_der(b"", &[]).is_err());
});
