use bartizan_attestation::boot::Sha384;
use bartizan_attestation::host::StoredState;
use bartizan_attestation::keys::{StateKey, StateRecord};
use bartizan_stream::Bytes;
use bartizan_stream::message::PolicySet;
use tokio::io::{DuplexStream, duplex};

use bartizan_attestation::host::ENCLAVE_FRAME;
use bartizan_local::aio;

use super::*;
use crate::config::Config;
use crate::peers::tests::Fleet;

const CARD: CardId = CardId([5; 32]);

fn enclave() -> Enclave {
    let fleet_ca = Fleet::new().pem;
    let config = serde_json::json!({ "fleet_ca": fleet_ca, "verifier": "verifier.example" });
    Enclave::new(Config::parse(&config.to_string()).unwrap()).unwrap()
}

/// Has a set without policies wait, which nobody needs to have signed.
fn wish(enclave: &Enclave, number: u64) {
    let set = PolicySet::new(number.try_into().unwrap(), Vec::<Bytes>::new()).unwrap();
    enclave
        .held
        .take(set, &enclave.config.authors, &enclave.ruling);
}

/// Has the state kept by a card that answers so, one after another; what it was asked.
async fn kept(
    enclave: &Enclave,
    answers: Vec<FromCard>,
) -> (Result<Progress, StateError>, Vec<ForCard>) {
    let (mut near, mut far) = duplex(1 << 16);
    let answering = async move {
        let mut asked = Vec::new();
        for answer in answers {
            asked.push(next(&mut far).await);
            let written = aio::write_frame(&mut far, &answer, ENCLAVE_FRAME);
            written.await.unwrap();
        }
        asked
    };
    tokio::join!(keep_state(enclave, CARD, &mut near), answering)
}

async fn next(link: &mut DuplexStream) -> ForCard {
    aio::read_frame(link, ENCLAVE_FRAME).await.unwrap()
}

fn stored(record: Option<StateRecord>, sealed: Option<Vec<u8>>) -> FromCard {
    FromCard::State(StoredState {
        key: StateKey::new([7; 32]),
        record,
        sealed: sealed.map(Into::into),
    })
}

fn away() -> FromCard {
    FromCard::Refused(CardRefusal::VaultAway("down".into()))
}

#[tokio::test]
async fn the_state_is_asked_for_once_and_handed_over_until_it_is_kept() {
    let enclave = enclave();
    let (progress, asked) = kept(&enclave, vec![away()]).await;
    assert_eq!(progress.unwrap(), Progress::Again);
    assert_eq!(asked, [ForCard::LoadState]);
    assert!(!enclave.held.is_known());
    let (progress, asked) = kept(&enclave, vec![stored(None, None)]).await;
    assert_eq!(progress.unwrap(), Progress::Kept);
    assert_eq!(asked, [ForCard::LoadState]);
    assert!(enclave.held.is_known());
    let (progress, asked) = kept(&enclave, Vec::new()).await;
    assert_eq!((progress.unwrap(), asked.len()), (Progress::Kept, 0));
    wish(&enclave, 5);
    let mut handed = Vec::new();
    for answer in [away(), away(), FromCard::Stored] {
        assert_eq!(enclave.ruling.decider().set(), 0, "it is not kept yet");
        let (_, asked) = kept(&enclave, vec![answer]).await;
        handed.extend(asked);
    }
    assert_eq!(enclave.ruling.decider().set(), 5);
    assert!(matches!(handed[0], ForCard::StoreState { number: 1, .. }));
    assert!(handed.iter().all(|asked| *asked == handed[0]));
    // Another enclave, after a restart, and with nobody else there.
    let ForCard::StoreState { number, sealed } = handed.swap_remove(0) else {
        panic!("{handed:?}");
    };
    let digest = Sha384::of(&sealed);
    let again = self::enclave();
    let answer = stored(Some(StateRecord { number, digest }), Some(sealed));
    let (progress, _) = kept(&again, vec![answer]).await;
    assert_eq!(progress.unwrap(), Progress::Kept);
    assert_eq!(again.ruling.decider().set(), 5);
}

#[tokio::test]
async fn a_state_that_is_lost_is_asked_for_again_and_everything_is_denied() {
    let enclave = enclave();
    let digest = Sha384::of(b"gone");
    let record = Some(StateRecord { number: 4, digest });
    for sealed in [None, Some(b"another".to_vec())] {
        let (progress, asked) = kept(&enclave, vec![stored(record, sealed)]).await;
        assert_eq!(progress.unwrap(), Progress::Again);
        assert_eq!(asked, [ForCard::LoadState]);
        assert!(enclave.held.is_known() && !enclave.held.is_kept());
    }
    wish(&enclave, 5);
    assert_eq!(enclave.held.due(), None);
    assert_eq!(enclave.ruling.decider().set(), 0);
    // It was reset.
    let (progress, _) = kept(&enclave, vec![stored(None, None)]).await;
    assert_eq!(progress.unwrap(), Progress::Kept);
    wish(&enclave, 6);
    let (progress, _) = kept(&enclave, vec![FromCard::Stored]).await;
    // Each of what is to be kept by itself: what else is due comes between.
    assert_eq!(progress.unwrap(), Progress::More);
    assert_eq!(enclave.ruling.decider().set(), 6);
    let (progress, asked) = kept(&enclave, Vec::new()).await;
    assert_eq!((progress.unwrap(), asked.len()), (Progress::Kept, 0));
}

#[tokio::test]
async fn who_is_superseded_ends_and_who_answers_otherwise_is_left() {
    let enclave = enclave();
    let unasked = kept(&enclave, vec![FromCard::Stored]).await.0;
    assert!(matches!(unasked, Err(StateError::Unexpected)));
    kept(&enclave, vec![stored(None, None)]).await.0.unwrap();
    wish(&enclave, 5);
    let unasked = kept(&enclave, vec![stored(None, None)]).await.0;
    assert!(matches!(unasked, Err(StateError::Unexpected)));
    let order = CardRefusal::StateOrder {
        recorded: 3,
        asked: 1,
    };
    let superseded = kept(&enclave, vec![FromCard::Refused(order)]).await.0;
    assert!(matches!(
        superseded,
        Err(StateError::Superseded {
            recorded: 3,
            asked: 1
        })
    ));
    enclave.held.superseded().await;
    assert_eq!(enclave.ruling.decider().set(), 0);
}
