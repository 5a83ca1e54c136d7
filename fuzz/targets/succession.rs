//! Successions of cards' keys: the input as a whole message, as what a card signed, and as the contents of the next key's request.
#![no_main]

use bartizan_attestation::certificates::Usage;
use bartizan_attestation::cose::{MessageType, PublicKey, sign1};
use bartizan_attestation::csr;
use bartizan_attestation::succession::{Successor, verify};
use bartizan_fuzz::fleet::{FLEET, NOW_S, signed_der};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(succession) = verify(data, &FLEET.ca, NOW_S) {
        // The seeds' keys are fixed: only what the card signed is good.
        let named = FLEET.operator_key.public_key();
        assert_eq!(succession.next, named, "a forged succession");
    }
    let decoded = Successor::decode(data).ok();
    if let Some(successor) = &decoded {
        assert_eq!(successor.encode(), data, "two encodings of one successor");
        assert_eq!(successor.version, Successor::VERSION);
    }
    let proved = decoded.and_then(|successor| csr::verify(&successor.csr).ok());
    assert_eq!(next(data), proved);
    let csr = signed_der(data, &FLEET.guest_key);
    if let Some(next) = next(&Successor::new(csr).encode()) {
        assert_eq!(next, FLEET.guest_key.public_key());
    }
});

/// The next key by a payload that the card signed.
fn next(payload: &[u8]) -> Option<PublicKey> {
    let chain = FLEET.chain(Usage::Card);
    let message = sign1(MessageType::Succession, payload, &chain, &FLEET.card_key).ok()?;
    let succession = verify(&message, &FLEET.ca, NOW_S).ok()?;
    assert_eq!(succession.card, FLEET.guest.card);
    assert_eq!(succession.present.public_key, FLEET.card_key.public_key());
    Some(succession.next)
}
