//! The state that an enclave keeps: the input as what was sealed, and as sealed bytes.
#![no_main]

use bartizan_attestation::keys::StateKey;
use bartizan_enclave::sealed::{MAX_ISOLATED, OpenError, State, open, seal};
use bartizan_fuzz::fleet::FLEET;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (key, card) = (StateKey::new([7; 32]), FLEET.guest.card);
    match open(&key, card, 1, data) {
        Ok(_) => panic!("a forged state"),
        Err(OpenError::State(_)) => panic!("what was not sealed is read"),
        Err(OpenError::Unopened | OpenError::Version) => {}
    }
    let Ok(state) = State::decode(data) else {
        return;
    };
    assert_eq!(state.encode(), data, "two encodings of one state");
    assert!(state.isolated.len() <= MAX_ISOLATED);
    let sealed = seal(&key, card, 3, &state).expect("inputs are small");
    assert_eq!(open(&key, card, 3, &sealed).expect("it was sealed"), state);
    open(&key, card, 4, &sealed).expect_err("it is of another number");
});
