//! The TLS server's key is replaced while it serves.

use std::sync::Arc;

use bartizan_channel::Connector;
use bartizan_verifier::anchors::Anchors;
use bartizan_verifier::rotation::Rotates as _;
use bartizan_verifier::tls_identity::TlsIdentity;
use bartizan_verifier::vault::Vault;

use crate::fleet::Authority;
use crate::stand_in_vault::StandInVault;

#[tokio::test(flavor = "multi_thread")]
async fn new_connections_see_the_new_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let stand_in = StandInVault::start(directory.path(), Authority::fleet());
    let ca = stand_in.fleet.ca();
    let names = vec!["localhost".to_owned()];
    let vault = Vault::new(stand_in.socket.clone());
    let anchors = Arc::new(Anchors::open(vault.clone()).await.unwrap());
    let identity = TlsIdentity::open(vault, anchors, names, 3600);
    let identity = identity.await.unwrap();
    let connector = Connector::anonymous(ca.der()).unwrap();
    let shown = async || {
        let (client, server) = tokio::io::duplex(1 << 16);
        let acceptor = identity.acceptor();
        let serving = tokio::spawn(async move { acceptor.accept(server).await.map(|_| ()) });
        let stream = connector.connect("localhost", client).await.unwrap();
        serving.await.unwrap().unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let before = shown().await;
    assert_eq!(before, shown().await);
    identity.rotate().await.unwrap();
    assert_ne!(before, shown().await);
    stand_in.refuse(true);
    assert!(identity.rotate().await.is_err());
    stand_in.refuse(false);
    shown().await;
}
