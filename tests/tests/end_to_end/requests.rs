//! Requests as a guest's own tool would make them, and as it never would: made here with the key that the
//! guest enrolled, and sent as raw HTTP over the guest's vsock.

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::rand;
use bartizan_attestation::certificates::FleetCa;
use bartizan_attestation::cose::{MessageType, sign1};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::identity::GuestIdentity;
use bartizan_attestation::measurement::{
    DigestKind, HashAlgorithm, MeasurementRequest, Region, Target,
};
use bartizan_attestation::renewal::RenewalRequest;
use bartizan_tests::stack::Guest;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use serde_json::{Value, json};

/// The host's CID and the port of its attestation API.
const API: (u32, u32) = (2, 1027);

/// What a guest keeps of its enrolment.
pub(crate) struct Enrolled {
    pub(crate) key: EphemeralKey,
    pub(crate) guest: GuestIdentity,
    pub(crate) fleet_ca: FleetCa,
    chain: Vec<Vec<u8>>,
}

/// What the guest API answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Enrolled {
    /// The enrolment of a guest, read as root in it can.
    pub(crate) fn of(guest: &mut Guest) -> Result<Self> {
        let key = guest.agent.must("base64 -w0 /run/bartizan/key.pk8")?;
        let key = base64::prelude::BASE64_STANDARD.decode(key)?;
        let document = guest.agent.must("cat /run/bartizan/enrollment.json")?;
        let document: Value = serde_json::from_str(&document)?;
        let bytes = |value: &Value| Ok::<_, anyhow::Error>(hex::decode(text(value)?)?);
        let chain = document["chain"].as_array().context("a chain")?;
        Ok(Self {
            key: EphemeralKey::from_pkcs8_der(&key)?,
            guest: text(&document["guest"])?.parse()?,
            fleet_ca: FleetCa::from_der(&bytes(&document["fleet_ca"])?)?,
            chain: chain.iter().map(bytes).collect::<Result<_>>()?,
        })
    }

    /// Signs a request as the guest's tool does.
    pub(crate) fn sign(&self, request: &MeasurementRequest) -> Result<Vec<u8>> {
        self.sign_payload(&request.encode())
    }

    /// Signs bytes that may be no request.
    pub(crate) fn sign_payload(&self, payload: &[u8]) -> Result<Vec<u8>> {
        let kind = MessageType::MeasurementRequest;
        Ok(sign1(kind, payload, &self.chain, &self.key)?)
    }
}

impl Enrolled {
    /// Signs, with this key, a request to put `key` in the place of what `enrolled` holds.
    pub(crate) fn sign_renewal(&self, enrolled: &Self, key: &EphemeralKey) -> Result<Vec<u8>> {
        let leaf = enrolled.chain.first().context("a chain")?;
        let request = RenewalRequest::new(leaf, key.csr()?).encode();
        Ok(sign1(
            MessageType::RenewalRequest,
            &request,
            &[],
            &self.key,
        )?)
    }
}

/// A request for a target, complete but for its signature.
pub(crate) fn request(
    application: &str,
    verifier_nonce: [u8; 32],
    target: Target,
) -> Result<MeasurementRequest> {
    let mut guest_nonce = [0; 32];
    rand::fill(&mut guest_nonce).map_err(|_| anyhow::anyhow!("no random numbers"))?;
    Ok(MeasurementRequest {
        version: MeasurementRequest::VERSION,
        verifier_nonce,
        guest_nonce,
        audience: "https://ledger.example".into(),
        application: application.into(),
        target,
        algorithm: HashAlgorithm::Sha256,
        kind: DigestKind::Flat,
        expected: None,
        page_digests: false,
    })
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
