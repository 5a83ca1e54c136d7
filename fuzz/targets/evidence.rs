//! What enclaves state: the input as a whole message, and as what an enclave signed.
#![no_main]

use std::num::NonZeroU64;

use bartizan_attestation::cbor;
use bartizan_attestation::cose::{MessageType, sign1};
use bartizan_attestation::evidence::{Evidence, Expected, MAX_EVENTS};
use bartizan_fuzz::fleet::{FLEET, NOW_S};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let expected = Expected {
        card: FLEET.guest.card,
        source: [9; 16],
        sequence: NonZeroU64::MIN,
        previous: None,
    };
    Evidence::verify(data, &expected, &FLEET.ca, NOW_S).expect_err("a forged piece");
    let decoded = Evidence::decode(data).ok();
    let Ok(message) = sign1(MessageType::Evidence, data, &[], &FLEET.report_key) else {
        // Too large for one.
        assert_eq!(decoded, None);
        return;
    };
    assert_eq!(Evidence::unverified(&message).ok(), decoded);
    Evidence::verify(&message, &expected, &FLEET.ca, NOW_S).expect_err("nobody certified the key");
    if let Some(evidence) = decoded {
        assert_eq!(cbor::encode(&evidence), data, "two encodings of one piece");
        assert!(evidence.statement.events.len() <= MAX_EVENTS);
    }
});
