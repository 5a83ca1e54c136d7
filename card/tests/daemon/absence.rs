//! What counts as the verifier being away, where a grace is granted then.

use std::sync::Arc;

use bartizan_attestation::host::{CardRefusal, CardReply, CardRequest};
use bartizan_card::Config;
use bartizan_card::service::Card;

use crate::configure;
use crate::fleet::{Authority, fresh};
use crate::stand_in_vault::{Signing, StandInVault};
use crate::stand_in_verifier::StandInVerifier;

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_the_vault_does_not_sign_buys_no_grace() {
    let directory = tempfile::tempdir().unwrap();
    let fleet = Arc::new(Authority::fleet());
    let vault = StandInVault::start(directory.path(), fleet.card(fresh()), fleet.der.clone());
    let verifier = StandInVerifier::start(Arc::clone(&fleet));
    let grace = "launch_grace_s: 600";
    let configuration = configure(directory.path(), &vault.socket, &verifier, grace);
    let config = Config::load(&configuration).unwrap();
    let card = tokio::task::spawn_blocking(move || Card::open(&config).unwrap());
    let card = card.await.unwrap();
    let launch = || {
        let (vm, operator) = ([1; 16], "ann".to_owned());
        card.answer(CardRequest::NextBoot { vm, operator })
    };
    assert!(matches!(launch().await, CardReply::Guest(_)));
    vault.sign(Signing::Refuses);
    let refused = launch().await;
    assert!(
        matches!(refused, CardReply::Refused(CardRefusal::LinkUnusable(_))),
        "{refused:?}"
    );
    // What is away is said to be, and buys no grace either.
    for away in [Signing::DeviceAway, Signing::Ends] {
        vault.sign(away);
        let refused = launch().await;
        assert!(
            matches!(refused, CardReply::Refused(CardRefusal::VaultAway(_))),
            "{refused:?}"
        );
    }
    // Silence is what the grace is for.
    vault.sign(Signing::Signs);
    drop(verifier);
    let graced = launch().await;
    assert!(matches!(graced, CardReply::Guest(_)), "{graced:?}");
}
