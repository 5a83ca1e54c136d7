//! Requests as a guest's own tool would make them, and as it never would: made here with the key that the
//! guest enrolled, and sent as raw HTTP over the guest's vsock.

use anyhow::{Context, Result, bail, ensure};
use bartizan_attestation::measurement::{Region, Target};
pub(crate) use bartizan_tests::enrolled::{Enrolled, request};
use bartizan_tests::stack::Guest;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use serde_json::{Value, json};

/// The host's CID and the port of its attestation API.
const API: (u32, u32) = (2, 1027);

/// What the guest API answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

/// One page of RAM that is nobody's secret: the first MiB of a PC is always there.
pub(crate) fn some_page() -> Target {
    physical(&[(0x1000, 0x1000)])
}

/// Guest-physical regions.
pub(crate) fn physical(regions: &[(u64, u64)]) -> Target {
    Target::Physical(all(regions))
}

/// Virtual regions of a process.
pub(crate) fn virtual_regions(pid: u32, regions: &[(u64, u64)]) -> Target {
    let regions = all(regions);
    Target::Virtual { pid, regions }
}

fn all(regions: &[(u64, u64)]) -> Vec<Region> {
    let region = |&(address, size)| Region { address, size };
    regions.iter().map(region).collect()
}

/// Posts to a guest's API from within it.
pub(crate) fn post(guest: &mut Guest, path: &str, kind: &str, body: &[u8]) -> Result<Answer> {
    let length = body.len();
    let mut bytes = format!(
        "POST {path} HTTP/1.1\r\nhost: bartizan\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    let (cid, port) = API;
    let answer = guest.agent.exchange(cid, port, &bytes)?;
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .context("the API did not answer in HTTP")?;
    let head = std::str::from_utf8(&answer[..end])?;
    let status = head.split(' ').nth(1).context("a status line")?.parse()?;
    let body = serde_json::from_slice(&answer[end + 4..])
        .with_context(|| format!("the API answered no JSON: {head}"))?;
    Ok(Answer { status, body })
}

/// Posts JSON.
pub(crate) fn post_json(guest: &mut Guest, path: &str, body: &Value) -> Result<Answer> {
    let body = body.to_string();
    post(guest, path, "application/json", body.as_bytes())
}

/// Asks for a nonce.
pub(crate) fn ask_nonce(guest: &mut Guest) -> Result<Answer> {
    post_json(guest, "/attestation_nonce", &json!({}))
}

/// A fresh nonce of the verifier's, for this guest.
pub(crate) fn nonce(guest: &mut Guest) -> Result<[u8; 32]> {
    let answer = ask_nonce(guest)?;
    let nonce = B64.decode(text(&answer.body["nonce"]).with_context(|| format!("{answer:?}"))?)?;
    nonce
        .try_into()
        .map_err(|_| anyhow::anyhow!("a short nonce"))
}

/// Sends a signed request.
pub(crate) fn attest(guest: &mut Guest, signed: &[u8]) -> Result<Answer> {
    post(guest, "/attest_guest_memory", "application/cose", signed)
}

impl Answer {
    /// The token, where attestation came about, whatever the verdict.
    pub(crate) fn token(&self) -> Result<&str> {
        text(&self.body["token"]).with_context(|| format!("no token: {self:?}"))
    }

    /// The chains of the verifier's token keys that came with the token.
    pub(crate) fn token_certificates(&self) -> Result<Vec<Vec<Vec<u8>>>> {
        let certificates = self.body["token_certificates"].as_array();
        certificates
            .context("token certificates")?
            .iter()
            .map(|certificate| Ok(vec![B64.decode(text(certificate)?)?]))
            .collect()
    }

    /// The type of the problem, the verifier's own where it was the verifier that refused.
    pub(crate) fn problem(&self) -> Result<&str> {
        const PREFIX: &str = "urn:bartizan:problem:";
        let outer = text(&self.body["type"]).with_context(|| format!("no problem: {self:?}"))?;
        let kind = match outer.strip_prefix(PREFIX).context("a problem type")? {
            "verifier-refused" => text(&self.body["verifier"]["type"])?
                .strip_prefix(PREFIX)
                .context("a problem type of the verifier's")?,
            own => own,
        };
        Ok(kind)
    }

    /// Fails unless this is exactly one problem, and grants nothing.
    pub(crate) fn must_refuse(&self, problem: &str) -> Result<()> {
        if self.status < 400 || self.problem()? != problem {
            bail!("`{problem}` was due, but: {self:?}");
        }
        for granted in ["token", "report", "verdict", "nonce", "secret", "chain"] {
            ensure!(self.body.get(granted).is_none(), "{granted} in {self:?}");
        }
        Ok(())
    }
}

/// The text of a JSON value.
pub(crate) fn text(value: &Value) -> Result<&str> {
    value.as_str().context("a string is due")
}
