//! What host and verifier must sign and verify for one request, each step by the code that the product runs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use bartizan_attestation::certificates::{Usage, VerifiedCertificate, verify_chain};
use bartizan_attestation::cose::{MessageType, Unverified, sign1};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_measuring::averaged;
use bartizan_tests::enrolled::Enrolled;

use crate::exchange::Granted;

/// How often each is done for one measurement.
const TIMES: u32 = 10;

/// The steps, in the order of a request's way.
pub(crate) const STEPS: [&str; 7] = [
    "hypervisor: verify the request's signature (ES384)",
    "measurer: sign the report (ES384)",
    "verifier: verify the measurer's chain (2 signatures, P-384)",
    "verifier: verify the report's signature (ES384)",
    "verifier: verify the guest's chain (2 signatures, P-384)",
    "verifier: verify the request's signature (ES384)",
    "verifier's vault: sign the token (ES256)",
];

/// Keys of the kinds that measurers and the verifier's vault have.
pub(crate) struct Keys {
    report: EphemeralKey,
    token: EcdsaKeyPair,
}

impl Keys {
    pub(crate) fn generate() -> Result<Self> {
        let token = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Ok(Self {
            report: EphemeralKey::generate()?,
            token: token.map_err(|_| anyhow::anyhow!("no key could be generated"))?,
        })
    }

    /// Does each step on a request and what it was granted; everything that is verified must verify.
    pub(crate) fn measure(
        &self,
        enrolled: &Enrolled,
        request: &[u8],
        granted: &Granted,
    ) -> Result<[Duration; STEPS.len()]> {
        let report = Unverified::parse(&granted.report, MessageType::Report)?;
        let chain = report.chain();
        let measurer = || verified(chain, enrolled, Usage::ReportKey);
        let measurer_key = measurer()?.public_key;
        let guest_key = enrolled.key.public_key();
        let payload = report.unverified_payload();
        let (input, _) = granted
            .token
            .rsplit_once('.')
            .context("a token has a signature")?;
        let request_signature = || {
            let message = Unverified::parse(request, MessageType::MeasurementRequest)?;
            Ok(message.verify(&guest_key)?)
        };
        Ok([
            averaged(TIMES, request_signature)?,
            averaged(TIMES, || {
                Ok(sign1(MessageType::Report, payload, chain, &self.report)?)
            })?,
            averaged(TIMES, measurer)?,
            averaged(TIMES, || {
                let message = Unverified::parse(&granted.report, MessageType::Report)?;
                Ok(message.verify(&measurer_key)?)
            })?,
            averaged(TIMES, || {
                verified(&enrolled.chain, enrolled, Usage::GuestKey)
            })?,
            averaged(TIMES, request_signature)?,
            averaged(TIMES, || {
                let signature = self.token.sign(&SystemRandom::new(), input.as_bytes());
                signature.map_err(|_| anyhow::anyhow!("no signature"))
            })?,
        ])
    }
}

fn verified(chain: &[Vec<u8>], enrolled: &Enrolled, usage: Usage) -> Result<VerifiedCertificate> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    Ok(verify_chain(chain, &enrolled.fleet_ca, now, usage)?)
}
