pub(crate) mod fleet;

mod anchor;
pub(crate) mod lineage;
mod refused;

use proptest::prelude::*;

use self::fleet::{Fleet, NOT_AFTER, NOT_BEFORE, NOW};
use super::*;
use crate::keys::VaultKind;
use crate::measurement::Digest;

#[test]
fn every_usage_verifies_and_says_what_it_is() {
    let fleet = Fleet::new();
    for usage in Usage::ALL {
        let chain = fleet.chain(usage);
        let verified = verify_chain(&chain, &fleet.anchor(), NOW, usage).unwrap();
        assert_eq!(verified.usage, usage);
        assert_eq!(verified.subject, fleet.subject(usage));
        assert_eq!(verified.public_key.curve(), usage.curve());
        assert_eq!(verified.card, usage.names_vault().then_some(fleet.card_id));
        let card_key = fleet.card.key().public_key().sha256();
        assert_eq!(verified.card_key, usage.names_vault().then_some(card_key));
        assert_eq!(verified.common_name, usage.name());
        assert_eq!(
            verified.vault,
            usage.names_vault().then_some(VaultKind::Software)
        );
        let launch = usage
            .carries_launch_measurement()
            .then(|| Digest(vec![0x5a; 48]));
        assert_eq!(verified.launch_measurement, launch);
        assert_eq!(
            (verified.not_before, verified.not_after),
            (NOT_BEFORE, NOT_AFTER)
        );
        assert_eq!(verified.sha256, crate::digest::sha256(&chain[0]));
    }
}

/// A card's second key has the card's id, which is the hash of the first, and certifies for that card.
#[test]
fn a_card_is_who_its_certificate_says_whichever_key_it_has() {
    let fleet = Fleet::new();
    let (second, key_id) = fleet::issue_card(&fleet.ca, |card| {
        card.subject_alt_names =
            fleet::params(Usage::Card, &fleet.subject(Usage::Card)).subject_alt_names;
    });
    let own = verify_chain(&[second.der().to_vec()], &fleet.anchor(), NOW, Usage::Card);
    let own = own.unwrap();
    assert_eq!(
        (own.card, own.card_key),
        (Some(fleet.card_id), Some(key_id.0))
    );
    for usage in Usage::ALL
        .into_iter()
        .filter(|usage| usage.issued_by_card())
    {
        let leaf = fleet::params(usage, &fleet.subject(usage));
        let leaf = fleet::signed(&leaf, &fleet::key(), &second);
        let chain = [leaf, second.der().to_vec()];
        let verified = verify_chain(&chain, &fleet.anchor(), NOW, usage).unwrap();
        assert_eq!(verified.card, Some(fleet.card_id));
        assert_eq!(verified.card_key, Some(key_id.0));
        // Under the certificate of the other of the two.
        let [leaf, _] = chain;
        let mixed = [leaf, fleet.card.der().to_vec()];
        assert!(verify_chain(&mixed, &fleet.anchor(), NOW, usage).is_err());
    }
}

#[test]
fn no_certificate_passes_for_another_usage() {
    let fleet = Fleet::new();
    for has in Usage::ALL {
        let chain = fleet.chain(has);
        for wanted in Usage::ALL.into_iter().filter(|wanted| *wanted != has) {
            let outcome = verify_chain(&chain, &fleet.anchor(), NOW, wanted);
            assert!(outcome.is_err(), "{has:?} passed for {wanted:?}");
        }
    }
}

#[test]
fn validity_is_inclusive_at_both_ends() {
    let fleet = Fleet::new();
    for usage in Usage::ALL {
        let chain = fleet.chain(usage);
        let at = |at| verify_chain(&chain, &fleet.anchor(), at, usage).map(|_| ());
        assert_eq!(
            at(NOT_BEFORE - 1),
            Err(ChainError::NotYetValid),
            "{usage:?}"
        );
        assert_eq!(at(NOT_BEFORE), Ok(()));
        assert_eq!(at(NOT_AFTER), Ok(()));
        assert_eq!(at(NOT_AFTER + 1), Err(ChainError::Expired), "{usage:?}");
        assert_eq!(at(0), Err(ChainError::NotYetValid));
        assert_eq!(at(u64::MAX), Err(ChainError::Expired));
    }
}

#[test]
fn any_flipped_bit_is_refused() {
    let fleet = Fleet::new();
    let anchor = fleet.anchor();
    for usage in [Usage::ReportKey, Usage::Card] {
        let chain = fleet.chain(usage);
        for certificate in 0..chain.len() {
            // Each byte once, another bit each time: all bits would take a minute.
            for byte in 0..chain[certificate].len() {
                let mut flipped = chain.clone();
                flipped[certificate][byte] ^= 1 << (byte % 8);
                let outcome = verify_chain(&flipped, &anchor, NOW, usage);
                assert!(
                    outcome.is_err(),
                    "{usage:?} {certificate}, byte {byte} went unnoticed"
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = FleetCa::from_der(&bytes);
        let _ = contents::Contents::read(&bytes);
    }

    #[test]
    fn a_mangled_certificate_never_panics(
        at in any::<prop::sample::Index>(),
        cut in 0usize..6,
        patch in prop::collection::vec(any::<u8>(), 0..6),
    ) {
        static CERTIFICATE: std::sync::LazyLock<Vec<u8>> =
            std::sync::LazyLock::new(|| Fleet::new().chain(Usage::GuestKey).swap_remove(0));
        let mut bytes = CERTIFICATE.clone();
        let at = at.index(bytes.len());
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, patch);
        if let Ok(contents) = contents::Contents::read(&bytes) {
            let _ = contents.check_usage(Usage::GuestKey);
            let _ = contents.subject(Usage::GuestKey);
        }
    }
}
