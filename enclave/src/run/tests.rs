use bartizan_attestation::certificates::{Lineage, Usage};
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
async fn asked(link: &mut DuplexStream, lineage: &Lineage) {
    loop {
        let asked = timeout(DEADLINE, aio::read_frame(link, ENCLAVE_FRAME));
        match asked.await.unwrap().unwrap() {
            ForCard::Certify { .. } => return,
            ForCard::FleetCas => say(link, &FromCard::FleetCas(lineage.clone())).await,
            _ => say(link, &busy()).await,
        }
    }
}

/// Answers the next request for certificates.
async fn answer(link: &mut DuplexStream, enclave: &Enclave, card: &Card, lineage: &Lineage) {
    asked(link, lineage).await;
    let (tls, evidence) = (enclave.keys.tls(), &enclave.keys.evidence);
    say(link, &certified(card, tls, evidence)).await;
}

#[tokio::test]
async fn the_card_is_asked_again_where_the_verifier_refuses_the_enclave() {
    let fleet = Fleet::new();
    let card = fleet.card();
    let enclave = enclave(&fleet);
    let shown = card.certify(Usage::TlsClient, &key());
    let lineage = Lineage::of(fleet.ca.der().to_vec());
    let (near, mut far) = duplex(1 << 16);
    let asking = ask_card(&enclave, (near, Some(shown)));
    let answering = async {
        answer(&mut far, &enclave, &card, &lineage).await;
        enclave.refused.notify_one();
        answer(&mut far, &enclave, &card, &lineage).await;
        enclave.refused.notify_one();
        asked(&mut far, &lineage).await;
        say(&mut far, &busy()).await;
    };
    let (ended, ()) = tokio::join!(asking, answering);
    let ended = ended.unwrap_err();
    assert!(ended.is_refusal(), "{ended}");
}

/// Known trouble: the CA that the measured configuration names was replaced since. The card shows what leads on from it.
#[tokio::test(start_paused = true)]
async fn the_fleets_present_ca_is_followed_and_certifies_anew() {
    let fleet = Fleet::new();
    let (next, rolled) = fleet.rolled();
    let before = Lineage::of(fleet.ca.der().to_vec());
    let (former, present) = (fleet.card(), next.card());
    let enclave = enclave(&fleet);
    let shown = former.certify(Usage::TlsClient, &key());
    let (near, mut far) = duplex(1 << 16);
    let asking = ask_card(&enclave, (near, Some(shown)));
    let answering = async {
        answer(&mut far, &enclave, &former, &before).await;
        // It asks whether the CA was replaced while it runs, and is certified at once where it was.
        answer(&mut far, &enclave, &former, &rolled).await;
        assert_eq!(enclave.anchors.ca().der(), next.ca.der());
        drop(far);
    };
    let (ended, ()) = tokio::join!(asking, answering);
    assert!(!ended.unwrap_err().is_refusal());
    // The same where that was before it was started, as one whose configuration is an older one.
    let late = self::enclave(&fleet);
    let mut shown = present.certify(Usage::TlsClient, &key());
    shown.extend(rolled.new_with_old());
    let (near, mut far) = duplex(1 << 16);
    let asking = ask_card(&late, (near, Some(shown)));
    let answering = async {
        answer(&mut far, &late, &present, &rolled).await;
        drop(far);
    };
    let (ended, ()) = tokio::join!(asking, answering);
    assert!(!ended.unwrap_err().is_refusal());
    assert_eq!(late.keys.evidence_chain().len(), 2);
}
