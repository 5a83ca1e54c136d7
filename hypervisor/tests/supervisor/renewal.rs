//! A guest's key and its renewal, over the guest API, the daemon, a card and a real supervisor.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use bartizan_attestation::cose::{MessageType, sign1};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::measurement::{
    DigestKind, HashAlgorithm, MeasurementRequest, Region, Target,
};
use bartizan_attestation::renewal::{CertifiedKey, OVERLAP_MS, RenewalRequest};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use serde_json::{Value, json};

use crate::boot_sector::Program;
use crate::daemon::Daemon;
use crate::host::{Host, PATIENCE, eventually};

pub(crate) const JSON: &str = "application/json";
pub(crate) const COSE: &str = "application/cose";

#[tokio::test]
async fn enrolled_key_is_renewed_in_place_and_signs_on_for_a_while() {
    let host = Host::new(Program::PrintsLogin);
    host.launch().await.unwrap();
    let daemon = Daemon::start(&host).await;
    let [first, second, third, stranger] =
        std::array::from_fn(|_| EphemeralKey::generate().unwrap());
    let renewal = |leaf: &[u8], signer: &EphemeralKey, new: &EphemeralKey| {
        let request = RenewalRequest::new(leaf, new.csr().unwrap()).encode();
        sign1(MessageType::RenewalRequest, &request, &[], signer).unwrap()
    };
    let to_nobody = renewal(b"nothing", &first, &second);
    assert_eq!(refusal(&host, "/renew", to_nobody).await, "not-enrolled");
    let enrolled = enrol(&host, &first).await;
    assert_eq!(
        CertifiedKey::read(&enrolled).unwrap().key,
        first.public_key()
    );

    let by_stranger = renewal(&enrolled, &stranger, &second);
    assert_eq!(refusal(&host, "/renew", by_stranger).await, "wrong-signer");
    let without_proof = RenewalRequest::new(&enrolled, vec![0x30, 0]).encode();
    let without_proof = sign1(MessageType::RenewalRequest, &without_proof, &[], &first).unwrap();
    assert_eq!(
        refusal(&host, "/renew", without_proof).await,
        "key-not-proven"
    );
    assert_eq!(
        refusal(&host, "/renew", b"\xd2".to_vec()).await,
        "malformed"
    );
    assert_eq!(daemon.card.certified(), 1, "certified for nobody");

    let request = renewal(&enrolled, &first, &second);
    let renewed = renewed(&host, request.clone()).await;
    assert_eq!(
        CertifiedKey::read(&renewed).unwrap().key,
        second.public_key()
    );
    assert_eq!(daemon.card.certified(), 2);
    let kept = host.status().await.enrollment.unwrap();
    assert_eq!(*kept.chain[0], renewed);
    assert_eq!(*kept.superseded.unwrap().chain[0], enrolled);

    // Sent again it is answered again, and changes nothing.
    assert_eq!(self::renewed(&host, request).await, renewed);
    assert_eq!(daemon.card.certified(), 2);
    let by_former = renewal(&enrolled, &first, &third);
    assert_eq!(
        refusal(&host, "/renew", by_former).await,
        "certificate-superseded"
    );
    let too_soon = renewal(&renewed, &second, &third);
    let (status, body) = post(&host, "/renew", COSE, too_soon).await;
    assert_eq!((status, kind(&body)), (429, "busy"));
    assert!((1..=OVERLAP_MS).contains(&body["retry_after_ms"].as_u64().unwrap()));

    // Both sign for the guest, also for a daemon that was not there. The stand-in of a measurer answers with no
    // report, which only a request that was let in can find out.
    drop(daemon);
    let _daemon = Daemon::start(&host).await;
    for key in [&first, &second] {
        assert_eq!(measured(&host, key).await, "host-internal");
    }
    assert_eq!(measured(&host, &stranger).await, "wrong-signer");
    host.stop(true).await;
}

/// Enrols a key with the launch secret; answers its certificate.
async fn enrol(host: &Host, key: &EphemeralKey) -> Vec<u8> {
    let (_, secret) = post(host, "/launch_secret", JSON, b"{}".to_vec()).await;
    let request = json!({ "secret": secret["secret"], "csr": B64.encode(key.csr().unwrap()) });
    leaf(&post(host, "/enroll", JSON, request.to_string().into_bytes()).await)
}

async fn renewed(host: &Host, request: Vec<u8>) -> Vec<u8> {
    leaf(&post(host, "/renew", COSE, request).await)
}

/// What a measurement that `signer` asks for is refused as.
async fn measured(host: &Host, signer: &EphemeralKey) -> String {
    let request = MeasurementRequest {
        version: MeasurementRequest::VERSION,
        verifier_nonce: [1; 32],
        guest_nonce: [2; 32],
        audience: "somebody".into(),
        application: "nginx".into(),
        target: Target::Physical(vec![Region {
            address: 0x1000,
            size: 0x1000,
        }]),
        algorithm: HashAlgorithm::Sha256,
        kind: DigestKind::Flat,
        expected: None,
        page_digests: false,
    };
    let kind = MessageType::MeasurementRequest;
    let signed = sign1(kind, &request.encode(), &[], signer).unwrap();
    refusal(host, "/attest_guest_memory", signed).await
}

async fn refusal(host: &Host, path: &str, body: Vec<u8>) -> String {
    let (status, body) = post(host, path, COSE, body).await;
    assert!(status >= 400, "{body}");
    kind(&body).to_owned()
}

fn leaf((status, body): &(u16, Value)) -> Vec<u8> {
    assert_eq!(*status, 200, "{body}");
    B64.decode(body["chain"][0].as_str().unwrap()).unwrap()
}

pub(crate) fn kind(body: &Value) -> &str {
    let kind = body["type"].as_str().unwrap();
    kind.strip_prefix("urn:bartizan:problem:").unwrap()
}

async fn post(host: &Host, path: &str, content: &str, body: Vec<u8>) -> (u16, Value) {
    send(host, "POST", path, content, body).await
}

/// Asks as the devices process does for the guest.
pub(crate) async fn send(
    host: &Host,
    method: &str,
    path: &str,
    content: &str,
    body: Vec<u8>,
) -> (u16, Value) {
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nhost: bartizan\r\nconnection: close\r\ncontent-type: {content}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend(body);
    let socket = host.guest_folder().join("api.sock");
    // A daemon that is ready may have to bind it yet.
    let mut link = eventually(async || UnixStream::connect(&socket).ok()).await;
    let exchanged = tokio::task::spawn_blocking(move || {
        link.set_read_timeout(Some(PATIENCE)).unwrap();
        link.write_all(&request).unwrap();
        let mut answer = String::new();
        link.read_to_string(&mut answer).unwrap();
        answer
    });
    let answer = exchanged.await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}
