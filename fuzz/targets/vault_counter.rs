//! Statements of vaults' counters: the input as a whole message, and as what a card signed.
#![no_main]

use bartizan_attestation::certificates::Usage;
use bartizan_attestation::cose::{MessageType, sign1};
use bartizan_attestation::vault_counter::{Machine, Statement};
use bartizan_fuzz::fleet::{FLEET, NOW_S};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let card = FLEET.guest.card;
    if let Ok(statement) = Statement::verify(data, card, &FLEET.ca, NOW_S) {
        // The seeds' keys are fixed: only what the card signed is good.
        assert_eq!(statement.counter, 7, "a forged statement");
    }
    let decoded = Statement::decode(data).ok();
    let chain = FLEET.chain(Usage::Card);
    let Ok(message) = sign1(MessageType::VaultCounter, data, &chain, &FLEET.card_key) else {
        // Too large for one.
        assert_eq!(decoded, None);
        return;
    };
    let verified = Statement::verify(&message, card, &FLEET.ca, NOW_S).ok();
    let own = decoded.filter(|statement| statement.card == card);
    assert_eq!(verified, own);
    if let Some(statement) = own {
        assert_eq!(statement.encode(), data, "two encodings of one statement");
        assert!(statement.counter > 0 && statement.version == Statement::VERSION);
        let machine = &statement.machine;
        assert!(Machine::new(machine.name().to_owned(), *machine.boot()).is_ok());
        let again = statement
            .sign(&chain, &FLEET.card_key)
            .expect("it is small");
        assert!(Statement::verify(&again, card, &FLEET.ca, NOW_S).is_ok());
    }
});
