use proptest::prelude::*;

use super::*;

#[test]
fn uris_are_as_documented() {
    let card = CardId([0xab; 32]);
    let guest = GuestIdentity {
        card,
        vm: [1; 16],
        boot: 2,
    };
    let hex = "ab".repeat(32);
    let vm = "01010101-0101-0101-0101-010101010101";
    for (subject, uri) in [
        (Subject::Host(card), format!("urn:bartizan:host:{hex}")),
        (
            Subject::Enclave(card),
            format!("urn:bartizan:enclave:{hex}"),
        ),
        (
            Subject::Hypervisor(card),
            format!("urn:bartizan:hypervisor:{hex}"),
        ),
        (
            Subject::Measurer(guest),
            format!("urn:bartizan:measurer:{hex}:{vm}:2"),
        ),
        (
            Subject::Guest(guest),
            format!("urn:bartizan:guest:{hex}:{vm}:2"),
        ),
        (
            Subject::operator("alice", Role::Runner).unwrap(),
            "urn:bartizan:operator:alice:runner".into(),
        ),
        (Subject::Token, "urn:bartizan:token".into()),
    ] {
        assert_eq!(subject.uri().as_ref(), Some(&uri));
        assert_eq!(uri.parse(), Ok(subject));
    }
    assert_eq!(Subject::Server.uri(), None);
}

#[test]
fn other_spellings_are_refused() {
    let hex = "ab".repeat(32);
    for uri in [
        "",
        "urn:bartizan:",
        "urn:bartizan:token:",
        "urn:bartizan:Token",
        "urn:bartizan:operator:",
        "urn:bartizan:operator:alice",
        "urn:bartizan:operator:alice:",
        "urn:bartizan:operator:alice:root",
        "urn:bartizan:operator:alice:Runner",
        "urn:bartizan:operator:alice:runner:administrator",
        "urn:bartizan:operator:a:b:runner",
        "urn:bartizan:operator::runner",
        "urn:bartizan:operator:Alice:runner",
        "urn:bartizan:operator:al ice:runner",
        "urn:bartizan:operator:alice\0:runner",
        "urn:bartizan:host:",
        "urn:bartizan:enclave:",
        &format!("urn:bartizan:enclave:{hex}:1"),
        "urn:bartizan:server:x",
        "a TLS server",
        &format!("urn:bartizan:host:{}", hex.to_uppercase()),
        &format!("urn:bartizan:host:{hex}:1"),
        &format!("urn:bartizan:operator:{}:runner", "a".repeat(64)),
    ] {
        assert!(uri.parse::<Subject>().is_err(), "{uri}");
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "(urn:bartizan:)?(host|guest|measurer|operator|token)?:?.{0,80}") {
        if let Ok(subject) = text.parse::<Subject>() {
            prop_assert_eq!(subject.uri().unwrap(), text);
        }
    }
}
