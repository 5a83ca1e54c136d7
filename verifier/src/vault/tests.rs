use std::os::unix::net::UnixListener;
use std::path::Path;

use bartizan_attestation::keys::{Purpose, VaultKind, VaultRefusal, VaultReply, VaultRequest};
use bartizan_local::{read_frame, write_frame};

use super::{Vault, VaultError};

/// Serves one connection: each reply answers one question, then the connection is closed.
fn serve(listener: &UnixListener, replies: &[VaultReply]) {
    let (mut link, _) = listener.accept().unwrap();
    for reply in replies {
        let _asked: VaultRequest = read_frame(&mut link, VaultRequest::MAX_FRAME).unwrap();
        write_frame(&mut link, reply, VaultRequest::MAX_FRAME).unwrap();
    }
}

fn description() -> VaultReply {
    VaultReply::Description {
        kind: VaultKind::Software,
        keys: Vec::new(),
        fleet_ca: None,
    }
}

#[tokio::test]
async fn a_restarted_vault_is_not_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("vault");
    let listener = UnixListener::bind(&socket).unwrap();
    let vault = Vault::new(socket.clone());
    let before = std::thread::spawn(move || serve(&listener, &[description()]));
    vault.describe().await.unwrap();
    before.join().unwrap();
    // It was asked, over the link of before; that it is away now does not tell what it did.
    assert!(matches!(vault.describe().await, Err(VaultError::Link(_))));
    assert!(matches!(
        vault.describe().await,
        Err(VaultError::Away { .. })
    ));
    std::fs::remove_file(&socket).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    let after = std::thread::spawn(move || serve(&listener, &[description(), description()]));
    vault.describe().await.unwrap();
    vault.describe().await.unwrap();
    after.join().unwrap();
}

#[tokio::test]
async fn refusals_and_strange_replies_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("vault");
    let listener = UnixListener::bind(&socket).unwrap();
    let refusal = VaultRefusal::NoKey {
        purpose: Purpose::Token,
    };
    let replies = [VaultReply::Refused(refusal.clone()), description()];
    let server = std::thread::spawn(move || serve(&listener, &replies));
    let vault = Vault::new(socket);
    let refused = vault.sign_token("{}".into(), Vec::new()).await;
    assert!(matches!(refused, Err(VaultError::Refused(found)) if found == refusal));
    assert!(matches!(
        vault.sign_token("{}".into(), Vec::new()).await,
        Err(VaultError::UnexpectedReply)
    ));
    server.join().unwrap();
}

#[tokio::test]
async fn no_vault_is_a_typed_error() {
    let vault = Vault::new(Path::new("/nonexistent/vault").into());
    assert!(matches!(
        vault.describe().await,
        Err(VaultError::Away { .. })
    ));
}
