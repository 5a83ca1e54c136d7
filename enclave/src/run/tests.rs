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

async fn say(link: &mut DuplexStream, answer: &FromCard) {
    aio::write_frame(link, answer, ENCLAVE_FRAME).await.unwrap();
}

fn busy() -> FromCard {
    FromCard::Refused(CardRefusal::Busy("come again".into()))
}

/// Waits until certificates are asked for; there is no time for anything else.
async fn asked(link: &mut DuplexStream) {
    loop {
        let asked = timeout(DEADLINE, aio::read_frame(link, ENCLAVE_FRAME));
        if let ForCard::Certify { .. } = asked.await.unwrap().unwrap() {
            return;
        }
        say(link, &busy()).await;
    }
}

/// Answers the next request for certificates.
async fn answer(link: &mut DuplexStream, enclave: &Enclave, card: &Card) {
    asked(link).await;
    let (tls, evidence) = (enclave.keys.tls(), &enclave.keys.evidence);
    say(link, &certified(card, tls, evidence)).await;
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
        asked(&mut far).await;
        say(&mut far, &busy()).await;
    };
    let (ended, ()) = tokio::join!(asking, answering);
    let ended = ended.unwrap_err();
    assert!(ended.is_refusal(), "{ended}");
}
