//! TLS and its clients, good and bad.

use std::io::ErrorKind;

use bartizan_channel::Connector;
use bartizan_channel::https::Connection;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fleet::Authority;
use crate::host::Host;
use crate::process::{
    DEADLINE, Verifier, attest, configure, connect, endpoint, exchange, host_client,
    operator_client,
};
use crate::stand_in_vault::StandInVault;

pub(crate) struct Stack {
    pub(crate) verifier: Verifier,
    pub(crate) vault: StandInVault,
    pub(crate) _directory: tempfile::TempDir,
}

pub(crate) fn start(extra: &str) -> Stack {
    let directory = tempfile::tempdir().unwrap();
    let vault = StandInVault::start(directory.path(), Authority::fleet());
    let configuration = configure(directory.path(), &vault.socket, extra);
    Stack {
        verifier: Verifier::start(&configuration),
        vault,
        _directory: directory,
    }
}

#[tokio::test]
async fn hosts_operators_and_strangers_get_what_is_theirs() {
    let Stack {
        verifier,
        vault,
        _directory,
    } = start("");
    let host = Host::enrolled(&vault.fleet);
    let guest = host.guest(1, 1);
    let mut as_host = connect(&host_client(&vault.fleet, &host), verifier.address).await;
    let (status, judged) = attest(&mut as_host, &guest).await.unwrap();
    assert_eq!(status, 200, "{judged}");
    let (status, _) = exchange(&mut as_host, "GET", "/v1/verdicts", Value::Null)
        .await
        .unwrap();
    assert_eq!(status, 403);

    let mut as_ann = connect(&operator_client(&vault.fleet), verifier.address).await;
    let (_, listed) = exchange(&mut as_ann, "GET", "/v1/verdicts", Value::Null)
        .await
        .unwrap();
    assert_eq!(listed["verdicts"][0]["id"], judged["verdict"]);
    let wish = json!({"guest": guest.identity.to_string()});
    let (status, _) = exchange(&mut as_ann, "POST", "/v1/nonces", wish)
        .await
        .unwrap();
    assert_eq!(status, 403);

    let stranger = Connector::anonymous(vault.fleet.ca().der()).unwrap();
    let mut stranger = connect(&stranger, verifier.address).await;
    let (status, _) = exchange(&mut stranger, "GET", "/healthz", Value::Null)
        .await
        .unwrap();
    assert_eq!(status, 204);
    let (status, _) = exchange(&mut stranger, "GET", "/v1/hosts", Value::Null)
        .await
        .unwrap();
    assert_eq!(status, 401);
}

#[tokio::test]
async fn a_host_that_is_revoked_is_refused_on_its_open_connection() {
    let Stack {
        verifier,
        vault,
        _directory,
    } = start("");
    let host = Host::enrolled(&vault.fleet);
    let guest = host.guest(1, 1);
    let mut as_host = connect(&host_client(&vault.fleet, &host), verifier.address).await;
    assert_eq!(attest(&mut as_host, &guest).await.unwrap().0, 200);
    let mut as_ann = connect(&operator_client(&vault.fleet), verifier.address).await;
    let wish = json!({"kind": "host", "subject": host.card.to_string(), "reason": "stolen"});
    let (status, _) = exchange(&mut as_ann, "POST", "/v1/revocations", wish)
        .await
        .unwrap();
    assert_eq!(status, 204);
    let wish = json!({"guest": guest.identity.to_string()});
    let (status, refusal) = exchange(&mut as_host, "POST", "/v1/nonces", wish)
        .await
        .unwrap();
    assert_eq!(
        (status, &refusal["type"]),
        (403, &json!("urn:bartizan:problem:host-revoked"))
    );
}

#[tokio::test]
async fn a_client_of_another_fleet_does_not_get_through_the_handshake() {
    let Stack {
        verifier,
        vault,
        _directory,
    } = start("");
    let elsewhere = Authority::fleet();
    let host = Host::enrolled(&elsewhere);
    let key = bartizan_attestation::csr::EphemeralKey::generate().unwrap();
    let identity = crate::process::identity(host.client(&key), &key);
    let connector = crate::process::client(&vault.fleet, identity);
    // In TLS 1.3 the client learns of it at its first read only.
    let outcome = async {
        let mut connection =
            Connection::open(&connector, &endpoint(verifier.address), DEADLINE).await?;
        exchange(&mut connection, "GET", "/healthz", Value::Null).await
    };
    assert!(outcome.await.is_err());
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let Stack {
        verifier,
        vault: _vault,
        _directory,
    } = start("");
    let mut stream = TcpStream::connect(verifier.address).await.unwrap();
    stream.write_all(&client_hello_1_2()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    // RFC 8446 section 6: a fatal (2) alert (21), protocol_version (70), and nothing else.
    assert_eq!((answer[0], &answer[5..]), (21, &[2, 70][..]), "{answer:?}");
}

/// A ClientHello of TLS 1.2 (RFC 5246 section 7.4.1.2) that such a server would accept.
fn client_hello_1_2() -> Vec<u8> {
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.push(0);
    hello.extend([0, 4, 0xc0, 0x2c, 0xc0, 0x2b]);
    hello.extend([1, 0]);
    let groups = [0, 10, 0, 4, 0, 2, 0, 24];
    let signatures = [0, 13, 0, 4, 0, 2, 5, 3];
    hello.extend([0, 16]);
    hello.extend(groups);
    hello.extend(signatures);
    let size = u8::try_from(hello.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, size + 4, 1, 0, 0, size];
    record.extend(hello);
    record
}

#[tokio::test]
async fn who_finds_no_place_for_a_handshake_does_not_wait_for_one() {
    let Stack {
        verifier,
        vault: _vault,
        _directory,
    } = start("limits: {handshake_s: 600, handshakes_per_address: 3}");
    // Three that never begin a handshake; a fourth finds no place.
    let mut idle = Vec::new();
    for _ in 0..3 {
        idle.push(TcpStream::connect(verifier.address).await.unwrap());
    }
    let mut fourth = TcpStream::connect(verifier.address).await.unwrap();
    until_closed(&mut fourth).await;
    for stream in idle {
        let read = stream.try_read(&mut [0]);
        assert!(
            matches!(&read, Err(error) if error.kind() == ErrorKind::WouldBlock),
            "{read:?}"
        );
    }
}

#[tokio::test]
async fn who_never_begins_a_handshake_is_cut_off() {
    let Stack {
        verifier,
        vault: _vault,
        _directory,
    } = start("limits: {handshake_s: 1}");
    let mut idle = TcpStream::connect(verifier.address).await.unwrap();
    until_closed(&mut idle).await;
}

#[tokio::test]
async fn who_only_costs_behind_tls_is_cut_off() {
    let Stack {
        verifier,
        vault,
        _directory,
    } = start("limits: {handshake_s: 60, head_s: 1, request_s: 2}");
    // One that never ends its head, one that never ends its body, and one that stays.
    let connector = Connector::anonymous(vault.fleet.ca().der()).unwrap();
    for (slow, expected) in [
        ("GET /healthz HTTP/1.1\r\n", ""),
        (POST_WITHOUT_ITS_BODY, "HTTP/1.1 408"),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 204"),
    ] {
        in_one_of_a_few_tries(async || {
            let tcp = TcpStream::connect(verifier.address).await.unwrap();
            let mut stream = connector.connect("127.0.0.1", tcp).await.unwrap();
            let _late = stream.write_all(slow.as_bytes()).await;
            until_closed(&mut stream).await.starts_with(expected)
        })
        .await;
    }
    // And still everybody else is served.
    in_one_of_a_few_tries(async || {
        let mut well = connect(&connector, verifier.address).await;
        let answer = exchange(&mut well, "GET", "/healthz", Value::Null).await;
        answer.is_ok_and(|(status, _)| status == 204)
    })
    .await;
}

/// A test that stands still for a second is itself one that only costs.
async fn in_one_of_a_few_tries(mut succeeds: impl AsyncFnMut() -> bool) {
    for _ in 0..10 {
        if succeeds().await {
            return;
        }
    }
    panic!("not answered as it should be");
}

/// What is read until the verifier closes.
async fn until_closed(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
    assert!(
        read.is_ok(),
        "the verifier keeps a connection that only costs"
    );
    String::from_utf8_lossy(&answer).into_owned()
}

const POST_WITHOUT_ITS_BODY: &str =
    "POST /v1/hosts HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{";

#[tokio::test]
async fn an_oversized_body_is_refused_before_it_is_sent() {
    let Stack {
        verifier,
        vault,
        _directory,
    } = start("limits: {body_bytes: 4096}");
    let connector = Connector::anonymous(vault.fleet.ca().der()).unwrap();
    let mut connection = connect(&connector, verifier.address).await;
    let large = json!({"join_code": "A".repeat(100_000), "name": "h", "csr": ""});
    // The verifier may close while the body is still being sent: refused either way.
    match exchange(&mut connection, "POST", "/v1/hosts", large).await {
        Ok((status, _)) => assert_eq!(status, 413),
        Err(error) => assert!(
            matches!(error, bartizan_channel::ChannelError::Http(_)),
            "{error}"
        ),
    }
}
