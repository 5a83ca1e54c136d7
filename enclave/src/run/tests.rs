use bartizan_attestation::certificates::Usage;
use bartizan_attestation::host::{CardRefusal, ENCLAVE_FRAME, ForCard, FromCard};
use bartizan_local::aio;
use tokio::io::{DuplexStream, duplex};

use super::*;
use crate::card::tests::certified;
use crate::peers::tests::{Card, Fleet, key};

const DEADLINE: Duration = Duration::from_secs(20);

fn enclave(fleet: &Fleet) -> Enclave {
    let config = serde_json::json!({ "fleet_ca": fleet.pem, "verifier": "verifier.example" });
    Enclave::new(Config::parse(&config.to_string()).unwrap()).unwrap()
}

/// Answers the next request.
async fn answer(link: &mut DuplexStream, enclave: &Enclave, card: &Card) {
    let asked = timeout(DEADLINE, aio::read_frame(link, ENCLAVE_FRAME));
    let ForCard::Certify { .. } = asked.await.unwrap().unwrap();
    let (tls, evidence) = (enclave.keys.tls(), &enclave.keys.evidence);
    let answer = certified(card, tls, evidence);
    aio::write_frame(link, &answer, ENCLAVE_FRAME)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_card_is_asked_again_where_the_verifier_refuses_the_enclave() {
    let fleet = Fleet::new();
    let card = fleet.card();
    let enclave = enclave(&fleet);
    let shown = card.certify(Usage::TlsClient, &key());
    let (near, mut far) = duplex(1 << 16);
    let asking = ask_card(&enclave, (near, Some(shown)));
    let answering = async {
        answer(&mut far, &enclave, &card).await;
        enclave.refused.notify_one();
        answer(&mut far, &enclave, &card).await;
        enclave.refused.notify_one();
        let refusal = CardRefusal::Busy("the enclave was certified too often".into());
        let asked = timeout(
            DEADLINE,
            aio::read_frame::<ForCard>(&mut far, ENCLAVE_FRAME),
        );
        asked.await.unwrap().unwrap();
        let refused = FromCard::Refused(refusal);
        aio::write_frame(&mut far, &refused, ENCLAVE_FRAME)
            .await
            .unwrap();
    };
    let (ended, ()) = tokio::join!(asking, answering);
    let ended = ended.unwrap_err();
    assert!(ended.is_refusal(), "{ended}");
}
