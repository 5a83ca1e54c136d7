//! Requests to a guest's API, signed beforehand, and what came back.

use anyhow::{Context, Result, bail};
use bartizan_attestation::measurement::{Region, Target};
use bartizan_tests::enrolled::request;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use serde_json::Value;

use crate::rig::Subject;

/// The attestation API's port.
pub(crate) const API: u32 = 1027;
/// Where measured regions begin: RAM in every guest here.
pub(crate) const MEASURED: u64 = 256 << 20;

/// What a request was granted.
pub(crate) struct Granted {
    pub(crate) report: Vec<u8>,
    pub(crate) token: String,
}

/// So many requests to measure so many bytes, each with a nonce of its own and the guest's signature: COSE only.
pub(crate) fn signed(subject: &mut Subject, count: usize, size: u64) -> Result<Vec<Vec<u8>>> {
    let region = Region {
        address: MEASURED,
        size,
    };
    nonces(subject, count)?
        .into_iter()
        .map(|nonce| {
            let request = request("bench", nonce, Target::Physical(vec![region]))?;
            subject.enrolled.sign(&request)
        })
        .collect()
}

/// As HTTP, for a connection that is kept or not.
pub(crate) fn post(path: &str, kind: &str, body: &[u8], kept: bool) -> Vec<u8> {
    let (length, closes) = (body.len(), if kept { "" } else { "connection: close\r\n" });
    let mut bytes = format!(
        "POST {path} HTTP/1.1\r\nhost: bartizan\r\n{closes}content-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// The request for an attestation, as HTTP.
pub(crate) fn attest(signed: &[u8], kept: bool) -> Vec<u8> {
    post("/attest_guest_memory", "application/cose", signed, kept)
}

/// What an HTTP answer granted; anything but a token is an error.
pub(crate) fn granted(answer: &[u8]) -> Result<Granted> {
    let body = body(answer)?;
    let text = |name: &str| {
        let text = body[name].as_str();
        text.with_context(|| format!("no {name}: {body}"))
    };
    Ok(Granted {
        report: B64.decode(text("report")?)?,
        token: text("token")?.to_owned(),
    })
}

fn nonces(subject: &mut Subject, count: usize) -> Result<Vec<[u8; 32]>> {
    let request = post("/attestation_nonce", "application/json", b"{}", true);
    let agent = &mut subject.guest.agent;
    agent.load(API, &vec![request; count])?;
    agent.fire(count.min(8), true)?;
    let answers = agent.collect()?;
    answers
        .iter()
        .map(|answer| {
            let body = body(answer)?;
            let nonce = body["nonce"]
                .as_str()
                .with_context(|| format!("no nonce: {body}"))?;
            let nonce = B64.decode(nonce)?.try_into();
            nonce.map_err(|_| anyhow::anyhow!("a nonce has 32 bytes"))
        })
        .collect()
}

fn body(answer: &[u8]) -> Result<Value> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let (head, body) = answer.split_at(end.context("no HTTP answer")? + 4);
    if !head.starts_with(b"HTTP/1.1 200") {
        bail!("refused: {}", String::from_utf8_lossy(answer));
    }
    Ok(serde_json::from_slice(body)?)
}
