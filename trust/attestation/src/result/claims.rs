//! The claims of an attestation result.

use serde::{Deserialize, Serialize};

use super::MAX_LIFETIME_S;
use crate::appraisal::{ExpectedDigest, Finding, Status};
use crate::identity::GuestIdentity;
use crate::measurement::{Digest, HashAlgorithm, MeasurementRequest};
use crate::text;

/// The claims set. Registered claims as in RFC 7519, RFC 7800, RFC 9711 (EAT) and draft-ietf-rats-ear-04;
/// private ones begin with `bartizan_`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EarClaims {
    /// Always [`EarClaims::PROFILE`].
    pub eat_profile: String,
    /// The verifier's URL.
    pub iss: String,
    /// The guest that was measured: `urn:bartizan:guest:…`.
    #[serde(with = "text::display")]
    pub sub: GuestIdentity,
    /// Who shall accept the result, as the request says.
    pub aud: String,
    /// When it was issued, in seconds since the Unix epoch.
    pub iat: u64,
    /// From when on it holds; equal to `iat`.
    pub nbf: u64,
    /// Until when it holds, exclusive; at most [`MAX_LIFETIME_S`] after `iat`.
    pub exp: u64,
    /// The verdict's id.
    pub jti: String,
    /// The guest's nonce.
    #[serde(with = "text::base64url")]
    pub eat_nonce: [u8; 32],
    /// The guest's key: whoever presents the token must prove possession of it.
    pub cnf: Confirmation,
    /// Which verifier.
    pub ear_verifier_id: VerifierId,
    /// The appraisals; there is one attester.
    pub submods: Submods,
    /// SHA-256 of the signed request.
    #[serde(with = "text::base64url")]
    pub bartizan_request: [u8; 32],
    /// The application that the request names.
    pub bartizan_application: String,
    /// On what the appraisal rests.
    pub bartizan_basis: Basis,
}

impl EarClaims {
    /// Identifier of the EAR profile (draft-ietf-rats-ear-04).
    pub const PROFILE: &'static str = "tag:ietf.org,2026:rats/ear#04";
    /// Largest claims set in bytes.
    pub const MAX_JSON: usize = 96 << 10;
}

/// Proof-of-possession key (RFC 7800) by its thumbprint (`jkt`, RFC 9449 section 6.1).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Confirmation {
    /// RFC 7638 thumbprint, SHA-256.
    #[serde(with = "text::base64url")]
    pub jkt: [u8; 32],
}

/// `ear_verifier_id`: who wrote the verifier, which build of it runs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VerifierId {
    /// Its developer's URL.
    pub developer: String,
    /// Its name and version.
    pub build: String,
}

/// The one attester: the guest's memory as its host measured it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Submods {
    /// The appraisal.
    pub memory: MemoryAppraisal,
}

/// An EAR appraisal (draft-ietf-rats-ear-04).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MemoryAppraisal {
    /// The verdict.
    pub ear_status: Status,
    /// Why, on AR4SI's scale.
    pub ear_trustworthiness_vector: TrustworthinessVector,
    /// The profile that the report was held against; absent without one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ear_appraisal_policy_ids: Vec<String>,
    /// What the attester says.
    pub ear_attester_claims: AttesterClaims,
    /// What the verifier adds.
    pub ear_verifier_claims: VerifierClaims,
}

/// AR4SI's trustworthiness vector. Only `executables` is claimed: a consumer that derives a status from the
/// vector comes to the same as `ear_status`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TrustworthinessVector {
    /// 2: only approved code is loaded; 0: no assertion; 33: unrecognised; 96: contraindicated.
    pub executables: i8,
}

/// What was measured.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AttesterClaims {
    /// How it was hashed.
    #[serde(flatten)]
    pub algorithms: Algorithms,
    /// The digest over all regions.
    #[serde(with = "text::hex_bytes")]
    pub digest: Digest,
    /// How many regions were measured.
    pub regions: u64,
    /// When, in milliseconds since the Unix epoch, by the host's clock.
    pub measured_at_ms: u64,
    /// The process that the request names, where it names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessClaims>,
    /// For a profile: the other processes that execute the same program. They were measured and judged alike.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_instances: Vec<InstanceClaims>,
}

/// How memory was hashed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Algorithms {
    /// The hash algorithm.
    #[serde(with = "text::display")]
    pub algorithm: HashAlgorithm,
    /// `flat` or `tree`.
    pub digest_kind: String,
}

/// The process that was measured.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProcessClaims {
    /// Thread group id in the guest's initial pid namespace.
    pub pid: u32,
    /// When it started, nanoseconds of the guest's monotonic clock.
    pub start_time_ns: u64,
    /// Its executable; control characters replaced, cut after 256 bytes.
    pub executable: String,
}

/// Another process of the same program.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InstanceClaims {
    /// Thread group id in the initial pid namespace.
    pub pid: u32,
    /// When it started, nanoseconds of the guest's monotonic clock.
    pub start_time_ns: u64,
}

/// What came of the appraisal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VerifierClaims {
    /// What speaks against it; empty exactly where the status is affirming.
    pub findings: Vec<Finding>,
    /// How many more findings there were.
    pub omitted_findings: u64,
    /// What came of the digest that the guest expected.
    pub expected_digest: ExpectedDigest,
}

/// On what an appraisal rests; a relying party's policy may require better.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Basis {
    /// Which back end holds the card's key: `development` is not tamper-resistant.
    pub vault: String,
    /// What the request asked to be measured.
    pub target: TargetKind,
    /// How virtual addresses were translated; absent for physical regions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub translation: Option<TranslationClaims>,
    /// How the snapshot was taken: `pause-copy` or `live`.
    pub snapshot: String,
    /// SHA-384 over the guest's measured launch.
    #[serde(with = "text::hex_bytes")]
    pub launch_measurement: Digest,
    /// How the host was booted; absent where its boot was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<BootClaims>,
    /// Version of the hypervisor's software.
    pub hypervisor: String,
    /// Executable regions that the profile allows without looking at them.
    pub unappraised: Vec<UnappraisedRegion>,
}

/// Kinds of [`crate::measurement::Target`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetKind {
    /// Guest-physical regions.
    Physical,
    /// Virtual regions of one process.
    Virtual,
    /// Every executable mapping of every process of one program.
    Profile,
}

/// How virtual addresses were translated.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TranslationClaims {
    /// Page table levels: 4 or 5.
    pub levels: u8,
    /// SHA-256 of the bzImage that the kernel profile was built from.
    #[serde(with = "text::hex_bytes")]
    pub kernel: Digest,
    /// The kernel's banner; control characters replaced, cut after 256 bytes.
    pub banner: String,
}

/// How a host was booted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BootClaims {
    /// The phases that had ended when the report's key was certified, the first one first.
    pub phases: Vec<PhaseClaims>,
    /// What it was booted from: the base, the bundle, both registered with the verifier and in force. Empty where the verifier
    /// demands none and knows none.
    pub releases: Vec<ReleaseClaims>,
    /// What the host's own firmware measured before, as its TPM has quoted it; `None` where nothing of it was compared.
    #[serde(default)]
    pub firmware: Option<FirmwareClaims>,
}

/// What a host's firmware was compared with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FirmwareClaims {
    /// The PCRs that the TPM has quoted and the firmware's event log replays to, in ascending order.
    pub pcrs: Vec<u8>,
    /// The registered reference that they are those of; `None` where they are those of none.
    pub reference: Option<ReferenceClaims>,
}

/// A reference.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReferenceClaims {
    /// Which machines and firmware it is of.
    pub name: String,
    /// SHA-384 of its PCRs' numbers and values.
    #[serde(with = "text::hex_bytes")]
    pub id: Digest,
}

/// The end of a phase.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PhaseClaims {
    /// Its name: `card`, `devices`, `coordinator`, `hypervisor`, `enclave`.
    pub phase: String,
    /// The measurement register then, SHA-384.
    #[serde(with = "text::hex_bytes")]
    pub register: Digest,
}

/// A release.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReleaseClaims {
    /// What it is a release of.
    pub product: String,
    /// Its version.
    pub version: u64,
    /// SHA-384 of its manifest.
    #[serde(with = "text::hex_bytes")]
    pub manifest: Digest,
}

/// A region that was allowed unseen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UnappraisedRegion {
    /// The process.
    pub pid: u32,
    /// Virtual address.
    #[serde(with = "text::hex_u64")]
    pub address: u64,
    /// Size in bytes.
    #[serde(with = "text::hex_u64")]
    pub size: u64,
}

/// A claims set that is no attestation result of this kind.
#[derive(Debug, thiserror::Error)]
pub enum ClaimsError {
    /// Larger than [`EarClaims::MAX_JSON`].
    #[error("the claims have {size} bytes, the limit is {}", EarClaims::MAX_JSON)]
    TooLarge {
        /// The size in bytes.
        size: usize,
    },
    /// Not JSON, or not of the shape.
    #[error("the claims are malformed: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Not spelled as [`EarClaims::to_json`] does.
    #[error(
        "the claims are not in their canonical form, or there are others than this version knows"
    )]
    NotCanonical,
    /// Another EAT profile.
    #[error("`eat_profile` is not `{}`", EarClaims::PROFILE)]
    Profile,
    /// The times are not in order, or too far apart.
    #[error("the claims' lifetime must be 1 to {MAX_LIFETIME_S} s and begin at `iat`")]
    Lifetime,
    /// Issuer, audience, application or id is empty or too long.
    #[error("issuer, audience, application or id is empty or too long")]
    Names,
    /// The status does not agree with the vector and the findings.
    #[error("`ear_status` contradicts the trustworthiness vector or the findings")]
    Status,
}

/// Checks that a claims set is exactly what [`EarClaims::to_json`] would write. The vault calls this before it signs.
pub fn check_claims_json(json: &str) -> Result<EarClaims, ClaimsError> {
    let claims = EarClaims::from_json(json.as_bytes())?;
    if claims.to_json() == json {
        Ok(claims)
    } else {
        Err(ClaimsError::NotCanonical)
    }
}

impl EarClaims {
    /// The JSON form: the same text for the same claims.
    #[must_use]
    pub fn to_json(&self) -> String {
        // INVARIANT: structs of strings, numbers and lists always have a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads and checks claims; unknown ones are ignored (RFC 7519 section 4).
    pub(super) fn from_json(json: &[u8]) -> Result<Self, ClaimsError> {
        if json.len() > Self::MAX_JSON {
            return Err(ClaimsError::TooLarge { size: json.len() });
        }
        let claims: Self = serde_json::from_slice(json)?;
        claims.check()?;
        Ok(claims)
    }

    fn check(&self) -> Result<(), ClaimsError> {
        if self.eat_profile != Self::PROFILE {
            return Err(ClaimsError::Profile);
        }
        let lifetime = self.exp.checked_sub(self.iat);
        let fits = lifetime.is_some_and(|lifetime| (1..=MAX_LIFETIME_S).contains(&lifetime));
        if !fits || self.nbf != self.iat {
            return Err(ClaimsError::Lifetime);
        }
        let names = [
            (&self.iss, 512),
            (&self.aud, MeasurementRequest::MAX_AUDIENCE),
            (
                &self.bartizan_application,
                MeasurementRequest::MAX_APPLICATION,
            ),
            (&self.jti, 64),
        ];
        if !names
            .iter()
            .all(|(name, limit)| (1..=*limit).contains(&name.len()))
        {
            return Err(ClaimsError::Names);
        }
        self.submods.memory.check()
    }
}

impl MemoryAppraisal {
    /// An affirming result never carries anything that speaks against it.
    fn check(&self) -> Result<(), ClaimsError> {
        let verified = &self.ear_verifier_claims;
        let clean = verified.findings.is_empty()
            && verified.omitted_findings == 0
            && verified.expected_digest != ExpectedDigest::Different
            && !self.ear_appraisal_policy_ids.is_empty();
        let tier = self.ear_trustworthiness_vector.executables == executables(self.ear_status);
        if tier && (clean || self.ear_status != Status::Affirming) {
            Ok(())
        } else {
            Err(ClaimsError::Status)
        }
    }
}

/// The `executables` claim of each status (draft-ietf-rats-ar4si-10).
pub(super) const fn executables(status: Status) -> i8 {
    match status {
        Status::None => 0,
        Status::Affirming => 2,
        Status::Warning => 33,
        Status::Contraindicated => 96,
    }
}
