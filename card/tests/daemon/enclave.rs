//! The enclave's links: it meets its card over one, and the verifier over the other.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use bartizan_attestation::certificates::{Usage, verify_chain};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::host::{CardRefusal, ENCLAVE_FRAME, ForCard, FromCard};
use bartizan_attestation::identity::CardId;
use bartizan_attestation::keys::{Chain, StateRecord};
use bartizan_card::service::Card;
use bartizan_card::{Config, enclave};
use bartizan_channel::{Acceptor, Connector, Identity, LocalSigner, TlsStream};
use bartizan_local::aio;
use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::fleet::{Authority, fresh, now};
use crate::stand_in_vault::StandInVault;
use crate::stand_in_verifier::StandInVerifier;
use crate::{DEADLINE, configure};

/// A host whose card serves its enclave.
struct Scene {
    fleet: Arc<Authority>,
    card: CardId,
    vault: StandInVault,
    _verifier: StandInVerifier,
    own: PathBuf,
    verifiers: PathBuf,
    keepers: PathBuf,
    _directory: tempfile::TempDir,
}

impl Scene {
    /// That user may connect.
    async fn new(allowed_uid: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let fleet = Arc::new(Authority::fleet());
        let authority = fleet.card(fresh());
        let id = authority.id();
        let vault = StandInVault::start(directory.path(), authority, fleet.der.clone());
        let verifier = StandInVerifier::start(Arc::clone(&fleet));
        let configuration = configure(directory.path(), &vault.socket, &verifier, "");
        let config = Config::load(&configuration).unwrap();
        let card = tokio::task::spawn_blocking(move || Card::open(&config).unwrap());
        let card = Arc::new(card.await.unwrap());
        let own = directory.path().join("enclave.sock");
        let verifiers = directory.path().join("to-verifier.sock");
        let keepers = directory.path().join("keeper.sock");
        let paths = [&own, &verifiers, &keepers];
        let listeners = paths.map(|path| UnixListener::bind(path).unwrap());
        let [of_card, of_verifier, of_keeper] = listeners;
        let serving = Arc::clone(&card);
        tokio::spawn(async move { enclave::serve(serving, of_card, &[allowed_uid]).await });
        let hearing = Arc::clone(&card);
        tokio::spawn(async move { enclave::hear_keeper(hearing, of_keeper, &[allowed_uid]).await });
        tokio::spawn(async move { enclave::forward(card, of_verifier, &[allowed_uid]).await });
        Self {
            fleet,
            card: id,
            vault,
            _verifier: verifier,
            own,
            verifiers,
            keepers,
            _directory: directory,
        }
    }

    /// A link on which an enclave shows this key, and the card itself.
    async fn link(&self, key: &EphemeralKey) -> TlsStream<UnixStream> {
        let signer = LocalSigner::from_pkcs8(key.pkcs8_der()).unwrap();
        let shown = Identity::new(vec![key.self_signed().unwrap()], Arc::new(signer));
        let shown = Arc::new(shown);
        let acceptor = Acceptor::new(move || Arc::clone(&shown), &[&self.fleet.der]).unwrap();
        let stream = UnixStream::connect(&self.own).await.unwrap();
        let shaken = timeout(DEADLINE, acceptor.accept(stream)).await.unwrap();
        let (link, chain) = shaken.unwrap();
        let peer = verify_chain(&chain.unwrap(), &self.fleet.ca(), now(), Usage::TlsClient);
        assert_eq!(peer.unwrap().card, Some(self.card));
        link
    }
}

async fn ask(link: &mut TlsStream<UnixStream>, tls: Vec<u8>, evidence: Vec<u8>) -> FromCard {
    say(link, ForCard::Certify { tls, evidence }).await
}

/// Has these keys certified.
async fn certify(link: &mut TlsStream<UnixStream>, tls: &EphemeralKey, evidence: &EphemeralKey) {
    let answer = ask(link, tls.csr().unwrap(), evidence.csr().unwrap()).await;
    assert!(matches!(answer, FromCard::Certified(_)), "{answer:?}");
}

async fn say(link: &mut TlsStream<UnixStream>, asked: ForCard) -> FromCard {
    let exchange = async {
        aio::write_frame(link, &asked, ENCLAVE_FRAME).await?;
        aio::read_frame(link, ENCLAVE_FRAME).await
    };
    timeout(DEADLINE, exchange).await.unwrap().unwrap()
}

fn own_uid() -> u32 {
    std::fs::metadata("/proc/self").unwrap().uid()
}

fn key() -> EphemeralKey {
    EphemeralKey::generate().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_of_the_enclave_are_certified_once_the_boot_was_measured() {
    let scene = Scene::new(own_uid()).await;
    let (tls, evidence) = (key(), key());
    let mut link = scene.link(&tls).await;
    let (tls_csr, evidence_csr) = (tls.csr().unwrap(), evidence.csr().unwrap());
    let early = ask(&mut link, tls_csr.clone(), evidence_csr.clone()).await;
    assert!(
        matches!(early, FromCard::Refused(CardRefusal::VaultRefused(_))),
        "{early:?}"
    );
    scene.vault.measure();
    // Over the same link, and again: certificates end, and links may not.
    for _ in 0..2 {
        let certified = ask(&mut link, tls_csr.clone(), evidence_csr.clone()).await;
        let FromCard::Certified(chains) = certified else {
            panic!("{certified:?}");
        };
        let certified = |chain: &Chain, usage| {
            let chain: Vec<Vec<u8>> = chain.iter().map(|der| der.to_vec()).collect();
            verify_chain(&chain, &scene.fleet.ca(), now(), usage).unwrap()
        };
        for (chain, usage, key) in [
            (&chains.tls, Usage::EnclaveTls, &tls),
            (&chains.evidence, Usage::Evidence, &evidence),
        ] {
            let certificate = certified(chain, usage);
            assert_eq!(certificate.card, Some(scene.card));
            assert_eq!(certificate.public_key, key.public_key());
        }
    }
}

/// Known attack: whoever may speak on the link has a key certified that it does not have.
#[tokio::test(flavor = "multi_thread")]
async fn a_tls_key_that_the_link_does_not_show_is_not_certified() {
    let scene = Scene::new(own_uid()).await;
    scene.vault.measure();
    let (tls, other) = (key(), key());
    let evidence = key().csr().unwrap();
    let mut link = scene.link(&tls).await;
    let mut spoilt = tls.csr().unwrap();
    *spoilt.last_mut().unwrap() ^= 1;
    for wrong in [other.csr().unwrap(), spoilt, b"no request".to_vec()] {
        let refused = ask(&mut link, wrong, evidence.clone()).await;
        let FromCard::Refused(CardRefusal::VaultRefused(why)) = refused else {
            panic!("{refused:?}");
        };
        assert!(why.contains("not the one that the link shows"), "{why}");
    }
    let right = ask(&mut link, tls.csr().unwrap(), evidence).await;
    assert!(matches!(right, FromCard::Certified(_)), "{right:?}");
}

/// Known attack: an enclave asks without end, and the vault certifies nobody else any more.
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_certified_now_and_then() {
    let scene = Scene::new(own_uid()).await;
    scene.vault.measure();
    let (tls, evidence) = (key(), key());
    let (tls_csr, evidence_csr) = (tls.csr().unwrap(), evidence.csr().unwrap());
    let mut granted = 0;
    let why = 'asked: loop {
        // Links do not count, requests do.
        let mut link = scene.link(&tls).await;
        for _ in 0..7 {
            match ask(&mut link, tls_csr.clone(), evidence_csr.clone()).await {
                FromCard::Certified(_) => granted += 1,
                FromCard::Refused(CardRefusal::Busy(why)) => break 'asked why,
                other => panic!("{other:?}"),
            }
            assert!(granted < 1000, "nothing bounds it");
        }
    };
    assert!(why.contains("too often"), "{why}");
    assert!(granted >= 16, "{granted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_state_is_kept_for_an_enclave_that_was_certified_on_the_link() {
    let scene = Scene::new(own_uid()).await;
    scene.vault.measure();
    let (tls, evidence) = (key(), key());
    let store = |number, sealed: Vec<u8>| ForCard::StoreState { number, sealed };
    let mut link = scene.link(&tls).await;
    for early in [ForCard::LoadState, store(1, b"one".to_vec())] {
        let refused = say(&mut link, early).await;
        assert_eq!(refused, FromCard::Refused(CardRefusal::NotCertified));
    }
    certify(&mut link, &tls, &evidence).await;
    let FromCard::State(none) = say(&mut link, ForCard::LoadState).await else {
        panic!("no state");
    };
    assert_eq!((none.record, none.sealed), (None, None));
    assert_eq!(
        say(&mut link, store(1, b"one".to_vec())).await,
        FromCard::Stored
    );
    // As large as there is one.
    let large = vec![7; StateRecord::MAX_SEALED];
    assert_eq!(
        say(&mut link, store(2, large.clone())).await,
        FromCard::Stored
    );
    let stale = say(&mut link, store(2, b"other".to_vec())).await;
    let order = CardRefusal::StateOrder {
        recorded: 2,
        asked: 2,
    };
    assert_eq!(stale, FromCard::Refused(order));
    // Another enclave, after a restart.
    let (tls, evidence) = (key(), key());
    let mut link = scene.link(&tls).await;
    certify(&mut link, &tls, &evidence).await;
    let FromCard::State(state) = say(&mut link, ForCard::LoadState).await else {
        panic!("no state");
    };
    assert_eq!(state.record, *scene.vault.state.lock().unwrap());
    assert_eq!(state.record.map(|record| record.number), Some(2));
    assert!(state.sealed.is_some_and(|sealed| *sealed == large));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_is_told_nothing() {
    let scene = Scene::new(own_uid() + 1).await;
    for socket in [&scene.own, &scene.verifiers, &scene.keepers] {
        let mut stream = UnixStream::connect(socket).await.unwrap();
        let mut said = Vec::new();
        let read = timeout(DEADLINE, stream.read_to_end(&mut said)).await;
        read.unwrap().unwrap();
        assert!(said.is_empty(), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verifier_is_met_through_the_card() {
    let scene = Scene::new(own_uid()).await;
    let connector = Connector::anonymous(&scene.fleet.der).unwrap();
    let stream = UnixStream::connect(&scene.verifiers).await.unwrap();
    let shaken = timeout(DEADLINE, connector.connect("127.0.0.1", stream)).await;
    shaken.unwrap().unwrap();
}
