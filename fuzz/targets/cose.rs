//! Signed messages: the first byte selects the type, the rest is the message.
#![no_main]

use bartizan_attestation::cose::{MessageType, Unverified, sign1};
use bartizan_fuzz::fleet::FLEET;
use libfuzzer_sys::fuzz_target;

const TYPES: [MessageType; 7] = [
    MessageType::MeasurementRequest,
    MessageType::Report,
    MessageType::LaunchRecord,
    MessageType::RenewalRequest,
    MessageType::Operation,
    MessageType::VaultCounter,
    MessageType::Succession,
];

fuzz_target!(|data: &[u8]| {
    let Some((&selector, message)) = data.split_first() else {
        return;
    };
    let kind = TYPES[usize::from(selector) % TYPES.len()];
    if let Ok(parsed) = Unverified::parse(message, kind) {
        check(&parsed, message, kind);
    }
    // Whatever the payload is: what was signed comes back.
    let signed = sign1(kind, message, &[], &FLEET.guest_key).expect("an input fits into a message");
    let parsed = Unverified::parse(&signed, kind).expect("what is built can be parsed");
    let key = FLEET.guest_key.public_key();
    assert_eq!(
        parsed.verify(&key).expect("the signature is right"),
        message
    );
});

fn check(parsed: &Unverified, message: &[u8], kind: MessageType) {
    for other in TYPES.into_iter().filter(|other| *other != kind) {
        assert!(
            Unverified::parse(message, other).is_err(),
            "one message, two types"
        );
    }
    let payload = parsed.unverified_payload();
    assert!(payload.len() + 96 < message.len());
    // Nobody but the owner of a key signs with it: the seeds are signed by the guest's.
    let operator = FLEET.operator_key.public_key();
    assert!(parsed.clone().verify(&operator).is_err());
    if let Ok(verified) = parsed.clone().verify(&FLEET.guest_key.public_key()) {
        assert!(
            SIGNED.contains(&verified.as_slice()),
            "a forged message verifies"
        );
    }
}

/// The payloads of the committed seeds.
const SIGNED: [&[u8]; 1] = [b"payload"];
