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

use crate::process::{DEADLINE, Verifier, configure, connect, exchange, identity, try_connect};

/// The vault's process; killed when dropped.
pub(crate) struct VaultProcess(Child);

impl VaultProcess {
    pub(crate) fn start(directory: &Path) -> Self {
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
    // Of the whole workspace, with a test: in the features that `cargo xtask test` builds everything in.
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--workspace"])
        .args(["--bin", "bartizan-vault", "--test", "back_ends"])
        .args(cfg!(not(debug_assertions)).then_some("--release"))
        .status()
        .unwrap();
    assert!(built.success());
    verifier.with_file_name("bartizan-vault")
}

/// A folder for a verifier and its vault; answers the verifier's configuration.
pub(crate) fn folder(directory: &Path) -> PathBuf {
    let at = |name: &str| directory.join(name);
    let uid = std::fs::metadata(directory).unwrap().uid();
    let config = format!(
        "socket: {}\nallowed_uids: [{uid}]\nstore: {}\nsealing: {{key_file: {}}}\nrole: verifier\n",
        at("real-vault.sock").display(),
        at("store").join("keys").display(),
        at("root.key").display(),
    );
    std::fs::create_dir(at("store")).unwrap();
    std::fs::write(at("vault.yaml"), config).unwrap();
    configure(directory, &at("real-vault.sock"), "")
}

/// Begins a fleet by a new operator, whose key is beside their certificate; answers how they connect.
pub(crate) fn begin(directory: &Path, configuration: &Path, name: &str) -> Connector {
    let at = |what: &str| directory.join(format!("{name}{what}"));
    let key = EphemeralKey::generate().unwrap();
    std::fs::write(at(".csr"), key.csr().unwrap()).unwrap();
    std::fs::write(at(".pk8"), key.pkcs8_der()).unwrap();
    certify(directory, configuration, name);
    let der = |what: &str| CertificateDer::from_pem_file(at(what)).unwrap().to_vec();
    let ca = FleetCa::from_der(&der("-fleet-ca.pem")).unwrap();
    let operator = identity(vec![der(".pem")], &key);
    Connector::authenticated(move || operator.clone(), ca.der()).unwrap()
}

/// Has the present fleet CA certify the operator whose request is in the folder.
pub(crate) fn certify(directory: &Path, configuration: &Path, name: &str) {
    let at = |what: &str| directory.join(format!("{name}{what}"));
    let begun = crate::process::command()
        .args(["init", "--operator-name", name, "--config"])
        .arg(configuration)
        .arg("--operator-csr")
        .arg(at(".csr"))
        .arg("--operator-certificate")
        .arg(at(".pem"))
        .arg("--fleet-ca")
        .arg(at("-fleet-ca.pem"))
        .output()
        .unwrap();
    assert!(
        begun.status.success(),
        "{}",
        String::from_utf8_lossy(&begun.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_vault_is_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = folder(directory.path());
    let vault = VaultProcess::start(directory.path());
    let connector = begin(directory.path(), &configuration, "ann");

    let verifier = Verifier::start(&configuration);
    let rotated = async || {
        let mut connection = connect(&connector, verifier.address).await;
        let path = "/v1/keys/token/rotate";
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
    let path = "/v1/keys/token/rotate";
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

/// What the former fleet certified is good for nothing in the one that is begun instead.
#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_that_is_begun_anew_knows_nobody_of_the_former() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let configuration = folder(directory.path());
    let vault = VaultProcess::start(directory.path());
    let former = begin(directory.path(), &configuration, "ann");
    drop(vault);
    for (secret, aside) in [
        ("store/keys", "store/keys.aside"),
        ("root.key", "aside.key"),
    ] {
        std::fs::rename(at(secret), at(aside)).unwrap();
    }

    let _vault = VaultProcess::start(directory.path());
    let present = begin(directory.path(), &configuration, "bea");
    let verifier = Verifier::start(&configuration);
    let mut connection = connect(&present, verifier.address).await;
    let (status, keys) = exchange(&mut connection, "GET", "/v1/keys", Value::Null)
        .await
        .unwrap();
    assert_eq!(status, 200, "{keys}");
    let cas = keys["keys"].as_array().unwrap().iter();
    assert_eq!(cas.filter(|key| key["kind"] == "fleet-ca").count(), 1);
    // The former operator does not take this for their verifier, nor it them for an operator.
    let refused = try_connect(&former, verifier.address).await;
    assert!(refused.is_err(), "the former fleet is known");
    let (first, second) = (
        std::fs::read(at("ann-fleet-ca.pem")).unwrap(),
        std::fs::read(at("bea-fleet-ca.pem")).unwrap(),
    );
    assert_ne!(first, second);
}
