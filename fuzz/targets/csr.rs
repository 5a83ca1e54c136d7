//! Certification requests: the input whole, and as the contents of a request that a guest's key signed.
#![no_main]

use bartizan_attestation::cose::{Curve, PublicKey};
use bartizan_attestation::csr;
use bartizan_fuzz::fleet::{FLEET, signed_der};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(key) = csr::verify(data) {
        assert_eq!(key.curve(), Curve::P384);
        assert_eq!(PublicKey::from_spki_der(&key.spki_der()), Ok(key));
    }
    if let Ok(key) = csr::verify(&signed_der(data, &FLEET.guest_key)) {
        assert_eq!(
            key,
            FLEET.guest_key.public_key(),
            "another key than the one that signed"
        );
    }
});
