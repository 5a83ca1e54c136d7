//! Names of hosts, guests and the subjects of certificates: one has one spelling.
#![no_main]

use std::fmt::Display;
use std::str::FromStr;

use bartizan_attestation::certificates::{Role, Subject};
use bartizan_attestation::identity::{CardId, GuestIdentity};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    one_spelling::<CardId>(text);
    one_spelling::<GuestIdentity>(text);
    one_spelling::<Subject>(text);
    if let Ok(operator) = Subject::operator(text, Role::Runner) {
        one_spelling::<Subject>(&operator.uri().expect("an operator has a URI"));
    }
});

fn one_spelling<T: FromStr + Display>(text: &str) {
    if let Ok(name) = text.parse::<T>() {
        assert_eq!(name.to_string(), text);
    }
}
