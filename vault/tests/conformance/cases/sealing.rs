//! The sealing key is rotated under a vault that goes on.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use bartizan_attestation::keys::{Purpose, VaultKind, VaultReply, VaultRequest};
use bartizan_vault::backend::Backend;
use bartizan_vault::config::Role;
use bartizan_vault::{StoredKeyring, Vault};

use crate::rig::{Rig, Store};

const NOW: u64 = 1_795_000_000;

fn vault(store: &Path, backend: &Arc<dyn Backend>) -> Result<Vault, String> {
    let stored = StoredKeyring::read(store).unwrap();
    let keyring = stored.open(Arc::clone(backend));
    let keyring = keyring.map_err(|error| error.to_string())?;
    Ok(Vault::new(Role::Verifier, Arc::clone(backend), keyring))
}

fn sign(vault: &Vault, certificate: &[u8]) {
    let context = b"TLS 1.3, server CertificateVerify\0";
    let request = VaultRequest::SignTls {
        purpose: Purpose::TlsServer,
        certificate: certificate.to_vec(),
        message: [&[0x20; 64], context.as_slice(), &[7; 48]].concat(),
    };
    let reply = vault.answer(request, NOW);
    assert!(matches!(reply, VaultReply::Signature(_)), "{reply:?}");
}

pub(super) fn a_vault_goes_on_when_its_sealing_key_is_rotated(rig: &dyn Rig) {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("keys");
    let backend = rig.open(Store::First);
    let running = vault(&store, &backend).unwrap();
    let found = VaultRequest::CreateFleetCa { name: "f".into() };
    assert!(matches!(
        running.answer(found, NOW),
        VaultReply::Certificates(_)
    ));
    let rotate = VaultRequest::RotateTlsServer {
        names: vec!["localhost".into()],
        lifetime_s: 3600,
    };
    let VaultReply::Certificates(chain) = running.answer(rotate, NOW) else {
        panic!("no TLS server key");
    };
    let certificate = chain[0].to_vec();
    let before = fs::read(&store).unwrap();
    thread::scope(|scope| {
        let signing = scope.spawn(|| (0..20).for_each(|_| sign(&running, &certificate)));
        for _ in 0..3 {
            let rotated = running.answer(VaultRequest::RotateSealing, NOW);
            assert_eq!(rotated, VaultReply::Done);
        }
        signing.join().unwrap();
    });
    drop(running);
    drop(backend);
    let backend = rig.open(Store::First);
    sign(&vault(&store, &backend).unwrap(), &certificate);
    // A TPM makes any of its former keys again; others have destroyed it.
    fs::write(&store, before).unwrap();
    let opened = vault(&store, &backend).is_ok();
    assert_eq!(opened, backend.kind() == VaultKind::Tpm2);
}
