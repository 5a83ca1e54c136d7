//! Public keys: as SubjectPublicKeyInfo, or, where the input is JSON, as a JSON Web Key.
#![no_main]

use bartizan_attestation::cose::{Jwk, PublicKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(key) = PublicKey::from_spki_der(data) {
        assert_eq!(key.spki_der(), data, "two spellings of one key");
        comes_back(&key);
    }
    if let Ok(jwk) = serde_json::from_slice::<Jwk>(data)
        && let Ok(key) = PublicKey::from_jwk(&jwk)
    {
        assert_eq!(key.jwk(), jwk, "two spellings of one key");
        comes_back(&key);
    }
});

fn comes_back(key: &PublicKey) {
    assert_eq!(PublicKey::from_jwk(&key.jwk()).as_ref(), Ok(key));
    assert_eq!(PublicKey::from_spki_der(&key.spki_der()).as_ref(), Ok(key));
    assert_eq!(
        PublicKey::from_point(key.curve(), key.point()).as_ref(),
        Ok(key)
    );
    assert!(key.verify(b"", &[0; 96]).is_err() && key.verify_der(b"", &[]).is_err());
}
