use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::keys::EnclaveChains;
use tokio::io::duplex;

use super::*;
use crate::peers::tests::{Card, Fleet, key};

/// An enclave of a fleet, asking a card that answers so.
async fn asked(
    fleet: &Fleet,
    card: &Card,
    answer: impl FnOnce(&Enclave) -> FromCard,
) -> (Enclave, Result<u64, CertifyError>) {
    let config = serde_json::json!({ "fleet_ca": fleet.pem, "verifier": "verifier.example" });
    let config = crate::config::Config::parse(&config.to_string()).unwrap();
    let enclave = Enclave::new(config).unwrap();
    let (mut near, mut far) = duplex(1 << 16);
    let answered = async {
        let asked = aio::read_frame(&mut far, ENCLAVE_FRAME).await.unwrap();
        let ForCard::Certify { tls, evidence } = asked else {
            panic!("{asked:?}");
        };
        let proven = |csr: &[u8]| bartizan_attestation::csr::verify(csr).unwrap();
        assert_eq!(proven(&tls), enclave.keys.tls().public_key());
        assert_eq!(proven(&evidence), enclave.keys.evidence.public_key());
        let answer = answer(&enclave);
        aio::write_frame(&mut far, &answer, ENCLAVE_FRAME)
            .await
            .unwrap();
    };
    let (done, ()) = tokio::join!(certify(&enclave, card.id, &mut near), answered);
    (enclave, done)
}

pub(crate) fn certified(card: &Card, tls: &EphemeralKey, evidence: &EphemeralKey) -> FromCard {
    let chain = |usage, key: &EphemeralKey| {
        let chain = card.certify(usage, key).into_iter();
        chain.map(Into::into).collect()
    };
    FromCard::Certified(EnclaveChains {
        tls: chain(Usage::EnclaveTls, tls),
        evidence: chain(Usage::Evidence, evidence),
    })
}

#[tokio::test]
async fn the_keys_that_are_certified_are_shown() {
    let fleet = Fleet::new();
    let card = fleet.card();
    let (enclave, done) = asked(&fleet, &card, |enclave| {
        certified(&card, enclave.keys.tls(), &enclave.keys.evidence)
    })
    .await;
    assert!(done.unwrap() > 3600);
    assert_eq!(enclave.keys.evidence_chain().len(), 2);
}

#[tokio::test]
async fn what_was_not_asked_for_is_refused_and_nothing_of_it_is_shown() {
    let fleet = Fleet::new();
    let (card, other) = (fleet.card(), fleet.card());
    let stranger = Fleet::new().card();
    let another = key();
    type Answer<'a> = Box<dyn FnOnce(&Enclave) -> FromCard + 'a>;
    let wrong: Vec<Answer<'_>> = vec![
        Box::new(|enclave| certified(&other, enclave.keys.tls(), &enclave.keys.evidence)),
        Box::new(|enclave| certified(&stranger, enclave.keys.tls(), &enclave.keys.evidence)),
        Box::new(|enclave| certified(&card, &another, &enclave.keys.evidence)),
        Box::new(|enclave| certified(&card, enclave.keys.tls(), &another)),
        Box::new(|enclave| {
            let FromCard::Certified(EnclaveChains { tls, evidence }) =
                certified(&card, enclave.keys.tls(), &enclave.keys.evidence)
            else {
                unreachable!()
            };
            let (tls, evidence) = (evidence, tls);
            FromCard::Certified(EnclaveChains { tls, evidence })
        }),
        Box::new(|_| FromCard::Refused(CardRefusal::NotEnrolled)),
    ];
    for answer in wrong {
        let (enclave, done) = asked(&fleet, &card, answer).await;
        done.unwrap_err();
        assert!(enclave.keys.evidence_chain().is_empty());
    }
}
