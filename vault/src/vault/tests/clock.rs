//! A clock that is set: years ahead, and back.

use bartizan_attestation::certificates::ChainError;

use super::*;

const YEARS_S: u64 = 20 * YEAR_S;

fn purposes(vault: &Vault) -> Vec<Purpose> {
    let VaultReply::Description { keys, .. } = vault.answer(VaultRequest::Describe, NOW) else {
        panic!("no description");
    };
    keys.iter().map(|key| key.purpose).collect()
}

fn token(vault: &Vault, now: u64) -> Vec<Vec<u8>> {
    certificates(vault.answer(VaultRequest::RotateToken { lifetime_s: 3600 }, now))
}

fn client(vault: &Vault, now: u64) -> Vec<Vec<u8>> {
    certificates(vault.answer(VaultRequest::RotateTlsClient { lifetime_s: 3600 }, now))
}

/// Beyond the end of the fleet CA and of the card: both are there, and work, once the clock is right again.
#[test]
fn years_ahead_cost_no_key_that_is_not_made_again_every_few_hours() {
    let (verifier, host, ca) = fleet();
    token(&verifier.vault, NOW);
    client(&host.vault, NOW);
    let later = NOW + YEARS_S;
    for _ in 0..3 {
        token(&verifier.vault, later);
        client(&host.vault, later);
    }
    assert!(purposes(&verifier.vault).contains(&Purpose::FleetCa));
    assert!(purposes(&host.vault).contains(&Purpose::CardIdentity));

    let again = token(&verifier.vault, NOW + 10);
    verify_chain(&again, &ca, NOW + 10, Usage::Token).unwrap();
    let result = super::taken_over::result(NOW + 10, &again[0]);
    let signed = verifier.vault.answer(result, NOW + 10);
    assert!(matches!(signed, VaultReply::Token(_)), "{signed:?}");
    let again = client(&host.vault, NOW + 10);
    verify_chain(&again, &ca, NOW + 10, Usage::TlsClient).unwrap();
}

/// What was made while the clock was ahead is good for nobody whose clock is right.
#[test]
fn a_certificate_of_the_future_is_refused() {
    let (verifier, host, ca) = fleet();
    let ahead = NOW + 30 * 86_400;
    for (chain, usage) in [
        (token(&verifier.vault, ahead), Usage::Token),
        (client(&host.vault, ahead), Usage::TlsClient),
    ] {
        verify_chain(&chain, &ca, ahead, usage).unwrap();
        let refused = verify_chain(&chain, &ca, NOW, usage).unwrap_err();
        assert_eq!(refused, ChainError::NotYetValid);
    }
}

/// Clocks of hosts that run down begin in 1970.
#[test]
fn a_clock_far_behind_destroys_nothing_and_makes_nothing_that_counts() {
    let (verifier, host, ca) = fleet();
    let before = [token(&verifier.vault, NOW), client(&host.vault, NOW)];
    let count = |vault: &Vault| purposes(vault).len();
    let keys = [count(&verifier.vault), count(&host.vault)];
    for now in [0, 61] {
        let behind = token(&verifier.vault, now);
        verify_chain(&behind, &ca, NOW, Usage::Token).unwrap_err();
        client(&host.vault, now);
    }
    assert_eq!(count(&verifier.vault), keys[0] + 2);
    assert_eq!(count(&host.vault), keys[1] + 2);
    // The keys of before sign on.
    let result = super::taken_over::result(NOW + 1, &before[0][0]);
    let signed = verifier.vault.answer(result, NOW + 1);
    assert!(matches!(signed, VaultReply::Token(_)), "{signed:?}");
    verify_chain(&before[1], &ca, NOW + 1, Usage::TlsClient).unwrap();
    // With the clock right again those of 1970 have ended.
    token(&verifier.vault, NOW + 2);
    assert_eq!(count(&verifier.vault), keys[0] + 1);
}

/// The history is in the order in which things happened, whatever the clock said.
#[test]
fn the_history_keeps_its_order() {
    let (_, host, _) = fleet();
    for now in [NOW, NOW + YEARS_S, 5, NOW] {
        client(&host.vault, now);
    }
    let VaultReply::History(events) = host.vault.answer(VaultRequest::History, NOW) else {
        panic!("no history");
    };
    let numbers: Vec<_> = events.iter().map(|event| event.number).collect();
    assert!(numbers.is_sorted());
    let made = (events.iter())
        .filter(|event| event.kind != KeyKind::Sealing && event.what.word() == "made");
    let times: Vec<_> = made.map(|event| event.at_s).collect();
    assert_eq!(times, [NOW, NOW, NOW + YEARS_S, 5, NOW]);
}
