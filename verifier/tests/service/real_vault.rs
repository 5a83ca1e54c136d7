//! The verifier with the real vault: begun, served, its vault killed and started again.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use bartizan_attestation::certificates::FleetCa;
use bartizan_attestation::csr::EphemeralKey;
use bartizan_channel::Connector;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use crate::process::{DEADLINE, Verifier, configure, connect, exchange, identity};

/// The vault's process; killed when dropped.
struct VaultProcess(Child);

impl VaultProcess {
    fn start(directory: &Path) -> Self {
        let socket = directory.join("real-vault.sock");
        let mut child = Command::new(vault_binary())
            .arg("--config")
            .arg(directory.join("vault.yaml"))
            .env_remove("NOTIFY_SOCKET")
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + DEADLINE;
        while UnixStream::connect(&socket).is_err() {
            assert!(child.try_wait().unwrap().is_none(), "the vault ended");
            assert!(Instant::now() < until, "the vault does not serve");
            std::thread::yield_now();
        }
        Self(child)
    }
}

impl Drop for VaultProcess {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Built where this test's own binary was.
fn vault_binary() -> PathBuf {
    let verifier = Path::new(env!("CARGO_BIN_EXE_bartizan-verifier"));
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--package",
            "bartizan-vault",
            "--bin",
            "bartizan-vault",
        ])
        .args(cfg!(not(debug_assertions)).then_some("--release"))
        .status()
        .unwrap();
    assert!(built.success());
    verifier.with_file_name("bartizan-vault")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_vault_is_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let uid = std::fs::metadata(directory.path()).unwrap().uid();
    let config = format!(
        "socket: {}\nallowed_uids: [{uid}]\nstore: {}\nsealing: {{key_file: {}}}\nrole: verifier\n",
        at("real-vault.sock").display(),
        at("store").join("keys").display(),
        at("root.key").display(),
    );
    std::fs::create_dir(at("store")).unwrap();
    std::fs::write(at("vault.yaml"), config).unwrap();
    let vault = VaultProcess::start(directory.path());
    let configuration = configure(directory.path(), &at("real-vault.sock"), "");

    let key = EphemeralKey::generate().unwrap();
    std::fs::write(at("ann.csr"), key.csr().unwrap()).unwrap();
    let begun = crate::process::command()
        .args(["init", "--operator-name", "ann", "--config"])
        .arg(&configuration)
        .arg("--operator-csr")
        .arg(at("ann.csr"))
        .arg("--operator-certificate")
        .arg(at("ann.pem"))
        .arg("--fleet-ca")
        .arg(at("fleet-ca.pem"))
        .output()
        .unwrap();
    assert!(
        begun.status.success(),
        "{}",
        String::from_utf8_lossy(&begun.stderr)
    );
    let der = |name: &str| CertificateDer::from_pem_file(at(name)).unwrap().to_vec();
    let ca = FleetCa::from_der(&der("fleet-ca.pem")).unwrap();
    let ann = identity(vec![der("ann.pem")], &key);
    let connector = Connector::authenticated(move || ann.clone(), ca.der()).unwrap();

    let verifier = Verifier::start(&configuration);
    let rotated = async || {
        let mut connection = connect(&connector, verifier.address).await;
        let path = "/v1/token-keys/rotate";
        let (status, answer) = exchange(&mut connection, "POST", path, Value::Null)
            .await
            .unwrap();
        assert_eq!(status, 200, "{answer}");
        let (_, set) = exchange(
            &mut connection,
            "GET",
            "/.well-known/jwks.json",
            Value::Null,
        )
        .await
        .unwrap();
        assert_eq!(set["keys"][0]["kid"], answer["kid"]);
        set["keys"].as_array().unwrap().len()
    };
    assert_eq!(rotated().await, 2);
    let mut open = connect(&connector, verifier.address).await;
    drop(vault);
    let path = "/v1/token-keys/rotate";
    let (status, refusal) = exchange(&mut open, "POST", path, Value::Null)
        .await
        .unwrap();
    assert_eq!(
        (status, &refusal["type"]),
        (503, &json!("urn:bartizan:problem:vault-away"))
    );
    let _vault = VaultProcess::start(directory.path());
    assert_eq!(rotated().await, 3);
}
