//! The TLS server's key is replaced while it serves.

use std::sync::Arc;
use std::time::Duration;

use bartizan_attestation::keys::VaultRefusal;
use bartizan_channel::Connector;
use bartizan_verifier::anchors::{Anchors, AnchorsError, keep_known};
use bartizan_verifier::rotation::Rotates as _;
use bartizan_verifier::tls_identity::TlsIdentity;
use bartizan_verifier::token_keys::TokenKeys;
use bartizan_verifier::vault::{Vault, VaultError};

use crate::fleet::Authority;
use crate::stand_in_vault::StandInVault;

#[tokio::test(flavor = "multi_thread")]
async fn new_connections_see_the_new_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let stand_in = StandInVault::start(directory.path(), Authority::fleet());
    let ca = stand_in.fleet.ca();
    let (_, identity) = identity(&stand_in).await;
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

async fn identity(stand_in: &StandInVault) -> (Arc<Anchors>, TlsIdentity) {
    let vault = Vault::new(stand_in.socket.clone());
    let anchors = Arc::new(Anchors::open(vault.clone()).await.unwrap());
    let names = vec!["localhost".to_owned()];
    let identity = TlsIdentity::open(vault, Arc::clone(&anchors), names, 3600);
    (anchors, identity.await.unwrap())
}

/// The vault was slow, who ordered the rotation gave up, and it was done all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_ca_that_was_replaced_unheard_is_followed_before_a_key_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let stand_in = StandInVault::start(directory.path(), Authority::fleet());
    let (anchors, identity) = identity(&stand_in).await;
    let new = Authority::fleet();
    let expected = new.ca().sha256();
    stand_in.replace_fleet(new);
    identity.rotate().await.unwrap();
    assert_eq!(anchors.ca().sha256(), expected);
    assert_eq!(stand_in.made_servers(), 2);
}

/// Who follows to a CA knows no server but one that it certified.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_of_a_ca_before_the_server_is_its() {
    let directory = tempfile::tempdir().unwrap();
    let stand_in = StandInVault::start(directory.path(), Authority::fleet());
    let (anchors, identity) = identity(&stand_in).await;
    let new = Authority::fleet();
    let [old, new_der] = [stand_in.fleet.der.clone(), new.der.clone()];
    stand_in.replace_fleet(new);
    anchors.learn().await.unwrap();
    assert_eq!(*anchors.known().lineage().present, new_der);
    stand_in.refuse(true);
    identity.follow().await.unwrap_err();
    assert_eq!(*identity.lineage().present, old);
    stand_in.refuse(false);
    identity.follow().await.unwrap();
    assert_eq!(*identity.lineage().present, new_der);
    let made = stand_in.made_servers();
    identity.follow().await.unwrap();
    assert_eq!(stand_in.made_servers(), made);
}

/// The vault drops the oldest of its keys for the newest: what it cannot be asked for rightly is not asked for.
#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_made_by_a_ca_that_is_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let stand_in = StandInVault::start(directory.path(), Authority::fleet());
    let (anchors, identity) = identity(&stand_in).await;
    stand_in.replace_fleet_unlinked(Authority::fleet());
    assert!(identity.rotate().await.is_err());
    assert_eq!(stand_in.made_servers(), 1);
    assert_eq!(anchors.ca().sha256(), stand_in.fleet.ca().sha256());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_key_by_a_ca_that_was_not_heard_of_is_published() {
    let directory = tempfile::tempdir().unwrap();
    let stand_in = StandInVault::start(directory.path(), Authority::fleet());
    let vault = Vault::new(stand_in.socket.clone());
    let anchors = Arc::new(Anchors::open(vault.clone()).await.unwrap());
    let tokens = TokenKeys::open(vault, anchors, 3600).await.unwrap();
    let former = tokens.published();
    stand_in.replace_fleet(Authority::fleet());
    let made = tokens.replace().await.unwrap();
    let published: Vec<_> = tokens.published().iter().map(|key| key.id).collect();
    assert_eq!(published, [made.id, former[0].id]);
}

/// In the test's time, which goes on when nothing else does.
#[tokio::test(start_paused = true)]
async fn a_fleet_ca_that_was_replaced_unheard_is_known_in_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let stand_in = StandInVault::start(directory.path(), Authority::fleet());
    let vault = Vault::new(stand_in.socket.clone());
    let anchors = Anchors::open(vault).await.unwrap();
    let new = Authority::fleet();
    let expected = new.ca().sha256();
    stand_in.replace_fleet(new);
    let known = async {
        while anchors.ca().sha256() != expected {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        () = keep_known(&anchors) => {}
        known = tokio::time::timeout(Duration::from_secs(600), known) => known.unwrap(),
    }
}

/// Who has it replaced next names the former one: that was not their doing.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_the_vault_refuses_is_refused_though_another_was_unheard() {
    let directory = tempfile::tempdir().unwrap();
    let stand_in = StandInVault::start(directory.path(), Authority::fleet());
    let vault = Vault::new(stand_in.socket.clone());
    let anchors = Anchors::open(vault).await.unwrap();
    let new = Authority::fleet();
    let expected = new.ca().sha256();
    stand_in.replace_fleet(new);
    let refused = anchors.rotate(Vec::new()).await;
    let by_vault = matches!(
        refused,
        Err(AnchorsError::Vault(VaultError::Refused(
            VaultRefusal::Rotation(_)
        )))
    );
    assert!(by_vault, "{refused:?}");
    assert_eq!(anchors.ca().sha256(), expected, "it is known by now");
}

/// An order that was followed is refused when it comes again: it is not sent again because its answer was lost.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_answer_is_lost_is_done() {
    let directory = tempfile::tempdir().unwrap();
    let stand_in = StandInVault::start(directory.path(), Authority::fleet());
    let vault = Vault::new(stand_in.socket.clone());
    let anchors = Anchors::open(vault).await.unwrap();
    let former = anchors.ca().sha256();
    stand_in.lose_answers(true);
    anchors.rotate(Vec::new()).await.unwrap();
    assert_ne!(anchors.ca().sha256(), former);
}
