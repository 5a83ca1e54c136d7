//! Beginning a fleet, starting, stopping, and failing to.

use std::os::unix::net::UnixDatagram;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bartizan_attestation::csr::EphemeralKey;
use bartizan_channel::Connector;
use bartizan_verifier::api::openapi;
use bartizan_verifier::binary::Binary;
use bartizan_verifier::pem::{self, Label};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use crate::fleet::Authority;
use crate::process::{
    DEADLINE, Verifier, client, command, configure, connect, exchange, identity, operator_client,
};
use crate::stand_in_vault::{Gate, StandInVault};

fn init(directory: &std::path::Path, csr: &[u8]) -> Output {
    std::fs::write(directory.join("ann.csr"), csr).unwrap();
    let at = |name: &str| directory.join(name);
    command()
        .args(["init", "--operator-name", "ann", "--config"])
        .arg(at("verifier.yaml"))
        .arg("--operator-csr")
        .arg(at("ann.csr"))
        .arg("--operator-certificate")
        .arg(at("ann.pem"))
        .arg("--fleet-ca")
        .arg(at("fleet-ca.pem"))
        .output()
        .unwrap()
}

fn certificate(path: &std::path::Path) -> Vec<u8> {
    CertificateDer::from_pem_file(path).unwrap().to_vec()
}

#[tokio::test]
async fn a_fleet_is_begun_once_and_its_operator_is_let_in() {
    let directory = tempfile::tempdir().unwrap();
    let vault = StandInVault::start(directory.path(), Authority::fleet());
    let configuration = configure(directory.path(), &vault.socket, "");
    vault.hide_fleet();
    let early = command()
        .args(["run", "--config"])
        .arg(&configuration)
        .output()
        .unwrap();
    assert_eq!(early.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&early.stderr).contains("init"));

    let key = EphemeralKey::generate().unwrap();
    let csr = key.csr().unwrap();
    let made = init(directory.path(), &csr);
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let again = pem::encode(Label::CertificateRequest, &[csr]);
    assert!(init(directory.path(), again.as_bytes()).status.success());
    let fleet_ca = certificate(&directory.path().join("fleet-ca.pem"));
    assert_eq!(fleet_ca, vault.fleet.der);

    let verifier = Verifier::start(&configuration);
    let chain = vec![certificate(&directory.path().join("ann.pem"))];
    let connector = client(&vault.fleet, identity(chain, &key));
    let mut connection = connect(&connector, verifier.address).await;
    let (status, _) = exchange(&mut connection, "GET", "/v1/hosts", Value::Null)
        .await
        .unwrap();
    assert_eq!(status, 200);
}

#[test]
fn init_refuses_what_is_no_request() {
    let directory = tempfile::tempdir().unwrap();
    let vault = StandInVault::start(directory.path(), Authority::fleet());
    configure(directory.path(), &vault.socket, "");
    let refused = init(directory.path(), b"hello");
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("`bartizan operator request`"), "{said}");
    assert!(!directory.path().join("ann.pem").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_on_sigterm_with_what_is_under_way_done() {
    let directory = tempfile::tempdir().unwrap();
    let vault = StandInVault::start(directory.path(), Authority::fleet());
    let verifier = Verifier::start(&configure(directory.path(), &vault.socket, ""));
    let anonymous = Connector::anonymous(vault.fleet.ca().der()).unwrap();
    let mut idle = connect(&anonymous, verifier.address).await;
    exchange(&mut idle, "GET", "/healthz", Value::Null)
        .await
        .unwrap();
    let mut as_ann = connect(&operator_client(&vault.fleet), verifier.address).await;
    vault.making.hold(true);
    let path = "/v1/keys/token/rotate";
    let rotating =
        tokio::spawn(async move { exchange(&mut as_ann, "POST", path, Value::Null).await });
    until_one_waits(&vault.making).await;
    let status = tokio::task::spawn_blocking(move || {
        verifier.terminate();
        verifier.until_said("ending");
        vault.making.hold(false);
        verifier.ended()
    });
    let (rotated, key) = rotating.await.unwrap().unwrap();
    assert_eq!((rotated, &key["kind"]), (200, &json!("token")), "{key}");
    let status = status.await.unwrap();
    assert!(status.success(), "{status}");
    let closed = exchange(&mut idle, "GET", "/healthz", Value::Null).await;
    assert!(closed.is_err());
}

#[test]
fn it_ends_on_sigterm_while_it_waits_for_its_vault() {
    let directory = tempfile::tempdir().unwrap();
    let nowhere = directory.path().join("no-vault");
    let verifier = Verifier::begin(command(), &configure(directory.path(), &nowhere, ""));
    verifier.until_said("waiting for the vault");
    verifier.terminate();
    verifier.until_said("told to end before it served");
    assert!(verifier.ended().success());
}

/// No connection is left that holds it up: what the vault certified is recorded all the same.
#[tokio::test(flavor = "multi_thread")]
async fn it_ends_with_that_done_whose_client_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let vault = StandInVault::start(directory.path(), Authority::fleet());
    let configuration = configure(directory.path(), &vault.socket, "");
    let verifier = Verifier::start(&configuration);
    let (ann, making) = (operator_client(&vault.fleet), Arc::clone(&vault.making));
    let mut as_ann = connect(&ann, verifier.address).await;
    let wish = json!({"name": "host-1", "lifetime_s": 60});
    let (_, code) = exchange(&mut as_ann, "POST", "/v1/join-codes", wish)
        .await
        .unwrap();
    drop(as_ann);

    let csr = Binary::encode(&EphemeralKey::generate().unwrap().csr().unwrap());
    let wish =
        json!({"join_code": code["code"], "name": "host-1", "csr": csr, "vault": "development"});
    let anonymous = Connector::anonymous(vault.fleet.ca().der()).unwrap();
    let mut as_host = connect(&anonymous, verifier.address).await;
    making.hold(true);
    tokio::select! {
        answer = exchange(&mut as_host, "POST", "/v1/hosts", wish) => panic!("answered: {answer:?}"),
        () = until_one_waits(&making) => {}
    }
    drop(as_host);
    let status = tokio::task::spawn_blocking(move || {
        verifier.terminate();
        verifier.until_said("waiting for what was begun");
        making.hold(false);
        verifier.ended()
    });
    let status = status.await.unwrap();
    assert!(status.success(), "{status}");

    let verifier = Verifier::start(&configuration);
    let mut as_ann = connect(&ann, verifier.address).await;
    let (_, listed) = exchange(&mut as_ann, "GET", "/v1/hosts", Value::Null)
        .await
        .unwrap();
    assert_eq!(listed["hosts"][0]["name"], "host-1", "{listed}");
}

async fn until_one_waits(gate: &Gate) {
    let waits = async {
        while gate.waiting() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, waits).await.unwrap();
}

#[test]
fn exit_statuses_tell_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let code = |arguments: &[&str]| {
        let output = command()
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        output.status.code().unwrap()
    };
    let nowhere = configure(directory.path(), &directory.path().join("no-vault"), "");
    assert_eq!(code(&["nonsense"]), 2);
    assert_eq!(code(&["run", "--config", "/nonexistent"]), 2);
    let csr = nowhere.with_file_name("ann.csr");
    std::fs::write(&csr, EphemeralKey::generate().unwrap().csr().unwrap()).unwrap();
    assert_eq!(
        init(directory.path(), &std::fs::read(&csr).unwrap())
            .status
            .code(),
        Some(69)
    );
    std::fs::write(&nowhere, "listen: []\n").unwrap();
    assert_eq!(code(&["run", "--config", nowhere.to_str().unwrap()]), 2);
}

#[test]
fn the_description_is_printed() {
    let output = command().arg("openapi").output().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        openapi::document()
    );
}

#[test]
fn readiness_is_told_to_the_socket_that_was_named() {
    let directory = tempfile::tempdir().unwrap();
    let vault = StandInVault::start(directory.path(), Authority::fleet());
    let configuration = configure(directory.path(), &vault.socket, "");
    let socket = directory.path().join("notify.sock");
    let notified = UnixDatagram::bind(&socket).unwrap();
    notified
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let mut child = command()
        .args(["run", "--config"])
        .arg(&configuration)
        .env("NOTIFY_SOCKET", &socket)
        .spawn()
        .unwrap();
    let mut message = [0; 16];
    let length = notified.recv(&mut message).unwrap();
    let running = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(&message[..length], b"READY=1");
    assert!(running);
}
