//! What the card tells of the verifier's token keys.

use std::sync::Arc;
use std::time::Instant;

use bartizan_attestation::certificates::Lineage;
use bartizan_attestation::host::{CardReply, CardRequest, HostDescription};
use bartizan_card::Config;
use bartizan_card::service::Card;

use crate::fleet::{Authority, fresh};
use crate::stand_in_vault::StandInVault;
use crate::stand_in_verifier::{StandInVerifier, Told};
use crate::{DEADLINE, configure};

async fn describe(card: &Card) -> HostDescription {
    match card.answer(CardRequest::Describe).await {
        CardReply::Host(host) => host,
        other => panic!("{other:?}"),
    }
}

/// The verifier's key is the new CA's a moment before the verifier tells of that: a guest that is told such a key, and no way to it, could
/// verify nothing for as long as keys are kept here.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_key_by_a_ca_that_is_not_known_yet_is_not_kept() {
    let directory = tempfile::tempdir().unwrap();
    let fleet = Arc::new(Authority::fleet());
    let (new, lineage) = fleet.next();
    let vault = StandInVault::start(directory.path(), fleet.card(fresh()), fleet.der.clone());
    let verifier = StandInVerifier::start(Arc::clone(&fleet));
    let config = Config::load(&configure(directory.path(), &vault.socket, &verifier, "")).unwrap();
    let card = tokio::task::spawn_blocking(move || Card::open(&config).unwrap());
    let card = card.await.unwrap();
    let tokens = vec![new.certify_token()];
    let tell = |lineage: Lineage| {
        let tokens = tokens.clone();
        verifier.tell(Told { lineage, tokens });
    };
    tell(Lineage::of(fleet.der.clone()));
    let told = describe(&card).await;
    assert_eq!(*told.fleet_cas.present, fleet.der);
    // However often it is asked meanwhile, it asks the verifier once a second.
    let (before, begun) = (verifier.asked_for_cas(), Instant::now());
    for _ in 0..20 {
        describe(&card).await;
    }
    let asked = u64::try_from(verifier.asked_for_cas() - before).unwrap();
    assert!(
        asked <= 1 + begun.elapsed().as_secs(),
        "asked {asked} times"
    );
    tell(lineage.clone());
    let deadline = Instant::now() + DEADLINE;
    let told = loop {
        let told = describe(&card).await;
        if told.fleet_cas == lineage {
            break told;
        }
        assert!(
            Instant::now() < deadline,
            "it is not kept, and not asked for"
        );
    };
    let leaves: Vec<_> = told
        .token_certificates
        .iter()
        .map(|leaf| leaf.to_vec())
        .collect();
    assert_eq!(leaves, tokens);
}
