//! What a guest keeps of its enrolment, and requests signed with it on the host, as the guest's own tool would.

use anyhow::{Context, Result};
use aws_lc_rs::rand;
use bartizan_attestation::certificates::FleetCa;
use bartizan_attestation::cose::{MessageType, sign1};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::identity::GuestIdentity;
use bartizan_attestation::measurement::{DigestKind, HashAlgorithm, MeasurementRequest, Target};
use bartizan_attestation::renewal::RenewalRequest;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::stack::Guest;

/// A guest's key, and what certifies it.
pub struct Enrolled {
    /// The key.
    pub key: EphemeralKey,
    /// The guest.
    pub guest: GuestIdentity,
    /// What the guest trusts.
    pub fleet_ca: FleetCa,
    /// The key's certificate chain, leaf first.
    pub chain: Vec<Vec<u8>>,
}

impl Enrolled {
    /// The enrolment of a guest, read as root in it can.
    pub fn of(guest: &mut Guest) -> Result<Self> {
        let key = guest.agent.must("base64 -w0 /run/bartizan/key.pk8")?;
        let document = guest.agent.must("cat /run/bartizan/enrollment.json")?;
        let document: Value = serde_json::from_str(&document)?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("a string is due");
        let bytes = |value: &Value| Ok::<_, anyhow::Error>(hex::decode(text(value)?)?);
        let chain = document["chain"].as_array().context("a chain")?;
        Ok(Self {
            key: EphemeralKey::from_pkcs8_der(&BASE64_STANDARD.decode(key)?)?,
            guest: text(&document["guest"])?.parse()?,
            fleet_ca: FleetCa::from_der(&bytes(&document["fleet_ca"])?)?,
            chain: chain.iter().map(bytes).collect::<Result<_>>()?,
        })
    }

    /// Signs a request as the guest's tool does.
    pub fn sign(&self, request: &MeasurementRequest) -> Result<Vec<u8>> {
        self.sign_payload(&request.encode())
    }

    /// Signs bytes that may be no request.
    pub fn sign_payload(&self, payload: &[u8]) -> Result<Vec<u8>> {
        let kind = MessageType::MeasurementRequest;
        Ok(sign1(kind, payload, &self.chain, &self.key)?)
    }

    /// Signs, with this key, a request to put `key` in the place of what `enrolled` holds.
    pub fn sign_renewal(&self, enrolled: &Self, key: &EphemeralKey) -> Result<Vec<u8>> {
        let leaf = enrolled.chain.first().context("a chain")?;
        let request = RenewalRequest::new(leaf, key.csr()?).encode();
        let kind = MessageType::RenewalRequest;
        Ok(sign1(kind, &request, &[], &self.key)?)
    }
}

/// A request for a target, complete but for its signature: SHA-256, flat, without page digests.
pub fn request(
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
