use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, PKCS_ECDSA_P384_SHA384};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;
use crate::tests::{Fleet, acceptor};
use crate::{Acceptor, HandshakeSignError, HandshakeSigner, LocalSigner};

/// A byte each way: the client's chain as the enclave has it, and the enclave's.
async fn shake(
    acceptor: Acceptor,
    connector: EnclaveConnector,
) -> Result<(Option<PeerChain>, PeerChain), ChannelError> {
    let (near, far) = duplex(1 << 16);
    let serving = tokio::spawn(async move {
        let (mut stream, chain) = acceptor.accept(far).await?;
        stream.write_all(b"!").await.unwrap();
        Ok::<_, ChannelError>(chain)
    });
    let (mut stream, shown) = connector.connect(near).await?;
    let read = stream.read_exact(&mut [0]).await;
    read.map_err(ChannelError::Handshake)?;
    Ok((serving.await.unwrap()?, shown))
}

fn self_signed(key: &KeyPair) -> Vec<u8> {
    let params = CertificateParams::default();
    params.self_signed(key).unwrap().der().to_vec()
}

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap()
}

/// Shows a certificate of `shown`, and signs with `signing`.
fn showing(shown: &KeyPair, signing: &KeyPair) -> Arc<Identity> {
    let signer = LocalSigner::from_pkcs8(&signing.serialize_der()).unwrap();
    Arc::new(Identity::new(vec![self_signed(shown)], Arc::new(signer)))
}

#[tokio::test]
async fn both_show_clients_certificates_and_each_has_the_others_chain() {
    let fleet = Fleet::new();
    let client = || fleet.identity(ExtendedKeyUsagePurpose::ClientAuth, false);
    let (card, enclave) = (client(), client());
    let connector = EnclaveConnector::certified(move || Arc::clone(&card), &[&fleet.der]).unwrap();
    let shaken = shake(acceptor(&fleet, enclave), connector).await.unwrap();
    assert_eq!((shaken.0.unwrap().len(), shaken.1.len()), (1, 1));
}

/// The verifier's, another fleet's, one that has ended, and one that nobody certified.
#[tokio::test]
async fn whoever_has_no_path_as_a_client_is_no_certified_enclave() {
    let (fleet, other) = (Fleet::new(), Fleet::new());
    let own = key();
    for wrong in [
        fleet.server(),
        other.identity(ExtendedKeyUsagePurpose::ClientAuth, false),
        fleet.identity(ExtendedKeyUsagePurpose::ClientAuth, true),
        showing(&own, &own),
    ] {
        let card = fleet.identity(ExtendedKeyUsagePurpose::ClientAuth, false);
        let connector =
            EnclaveConnector::certified(move || Arc::clone(&card), &[&fleet.der]).unwrap();
        let shaken = shake(acceptor(&fleet, wrong), connector).await;
        assert!(
            matches!(shaken, Err(ChannelError::Handshake(_))),
            "{shaken:?}"
        );
    }
}

#[tokio::test]
async fn an_uncertified_enclave_proves_possession_of_the_key_that_it_shows() {
    let fleet = Fleet::new();
    let (own, stolen) = (key(), key());
    let connector = || {
        let card = fleet.identity(ExtendedKeyUsagePurpose::ClientAuth, false);
        EnclaveConnector::uncertified(move || Arc::clone(&card)).unwrap()
    };
    let enclave = acceptor(&fleet, showing(&own, &own));
    let (client, shown) = shake(enclave, connector()).await.unwrap();
    assert_eq!(client.unwrap().len(), 1);
    let [leaf] = shown.as_slice() else {
        panic!("{shown:?}");
    };
    assert!(leaf.windows(97).any(|bytes| bytes == own.public_key_raw()));
    // One that shows another's.
    let shaken = shake(acceptor(&fleet, showing(&stolen, &own)), connector()).await;
    assert!(
        matches!(shaken, Err(ChannelError::Handshake(_))),
        "{shaken:?}"
    );
}

#[derive(Debug)]
struct Never;

impl HandshakeSigner for Never {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, HandshakeSignError> {
        Err(HandshakeSignError)
    }
}

#[tokio::test]
async fn a_handshake_that_is_not_signed_is_none() {
    let fleet = Fleet::new();
    let unsigned = Identity::new(vec![self_signed(&key())], Arc::new(Never));
    let card = fleet.identity(ExtendedKeyUsagePurpose::ClientAuth, false);
    let connector = EnclaveConnector::uncertified(move || Arc::clone(&card)).unwrap();
    shake(acceptor(&fleet, Arc::new(unsigned)), connector)
        .await
        .unwrap_err();
}
