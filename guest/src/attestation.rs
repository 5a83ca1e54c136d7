//! Asking for attestation, and verifying what comes back.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use bartizan_attestation::certificates::Lineage;
use bartizan_attestation::cose::{MessageType, SignError, sign1};
use bartizan_attestation::digest::sha256;
use bartizan_attestation::measurement::{
    Digest, DigestKind, HashAlgorithm, MeasurementRequest, Region, Target,
};
pub use bartizan_attestation::result::NotAffirmedError;
use bartizan_attestation::result::{Affirmed, Expectation, TokenError, verify_token};
use serde::Deserialize;
use serde_json::json;

use crate::anchor::AnchorError;
use crate::host_api::{HostApi, HostApiError, Problem, decode};
use crate::residency::{ResidencyError, make_executable_pages_present, make_program_present};
use crate::state::Enrollment;

/// How often a request is made whose pages are not all present: processes come and go.
const ATTEMPTS: usize = 4;
/// The type of the refusal that names absent pages.
const NOT_RESIDENT: &str = "urn:bartizan:problem:not-resident";

/// An application that wants to be attested, and for whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Application {
    /// Its name, as registered with the verifier.
    pub name: String,
    /// Who shall accept the token.
    pub audience: String,
    /// What to measure.
    pub measure: Measure,
    /// Hash algorithm.
    pub algorithm: HashAlgorithm,
    /// Digest kind.
    pub kind: DigestKind,
    /// The overall digest that the application expects, if it has an opinion; never enough to be affirmed.
    pub expected: Option<Digest>,
    /// Whether page digests shall go with the report, so that a difference can be located; for a process only.
    pub page_digests: bool,
    /// Most bytes of a process's executable mappings, and those of all others that execute its program, that are made
    /// present: what the host measures at once (`budget.bytes_per_request` of the launch record).
    pub max_bytes: u64,
}

/// What to measure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Measure {
    /// All executable memory of a process and of all others that execute its program: what a profile judges, and the
    /// only thing that is ever affirmed.
    Process(u32),
    /// Virtual regions of a process.
    Virtual(u32, Vec<Region>),
    /// Guest-physical regions.
    Physical(Vec<Region>),
}

/// What came back: not to be believed before [`verify_attestation_token`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attested {
    /// The host's signed report (COSE_Sign1): evidence to keep.
    pub report: Vec<u8>,
    /// The page digests that the report commits to, concatenated, where they were asked for.
    pub page_digests: Option<Vec<u8>>,
    /// The verifier's result (JWT).
    pub token: String,
    /// Id of the verdict that the verifier keeps.
    pub verdict: String,
    /// Certificates of the verifier's token keys, as the host relayed them.
    pub token_certificates: Vec<Vec<u8>>,
    /// The fleet's CAs, as the host relayed them: the token key may be certified by one that took the anchored one's place.
    pub fleet_cas: Lineage,
    /// What was asked, to compare the token with.
    pub asked: Asked,
}

/// What a request asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    application: String,
    audience: String,
    guest_nonce: [u8; 32],
    request_digest: [u8; 32],
}

/// No attestation came about.
#[derive(Debug, thiserror::Error)]
pub enum AttestationError {
    /// The host or verifier refused or is away.
    #[error(transparent)]
    Host(#[from] HostApiError),
    /// The process's pages could not be made present.
    #[error(transparent)]
    Residency(#[from] ResidencyError),
    /// The request could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// No random numbers.
    #[error("the kernel's random number generator failed")]
    Random,
    /// The fleet CAs are not those of the anchored one's fleet.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
    /// The token is refused.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The token is genuine and does not affirm.
    #[error(transparent)]
    NotAffirmed(#[from] NotAffirmedError),
}

#[derive(Deserialize)]
struct Nonce {
    nonce: String,
}

#[derive(Deserialize)]
struct Answer {
    report: String,
    page_digests: Option<String>,
    token: String,
    verdict: String,
    token_certificates: Vec<String>,
    fleet_cas: Lineage,
}

impl Application {
    /// What a launch record allows that says nothing of `budget.bytes_per_request`.
    pub const DEFAULT_MAX_BYTES: u64 = 512 << 20;

    /// The calling process, as its profile judges it, by SHA-256 in a tree.
    #[must_use]
    pub fn this_process(name: &str, audience: &str) -> Self {
        Self::process(name, audience, std::process::id())
    }

    /// Another process of this guest, as its profile judges it, by SHA-256 in a tree.
    #[must_use]
    pub fn process(name: &str, audience: &str, pid: u32) -> Self {
        Self {
            name: name.into(),
            audience: audience.into(),
            measure: Measure::Process(pid),
            algorithm: HashAlgorithm::Sha256,
            kind: DigestKind::Tree,
            expected: None,
            page_digests: true,
            max_bytes: Self::DEFAULT_MAX_BYTES,
        }
    }

    fn request(&self, verifier_nonce: [u8; 32]) -> Result<MeasurementRequest, AttestationError> {
        let mut guest_nonce = [0; 32];
        SystemRandom::new()
            .fill(&mut guest_nonce)
            .map_err(|_| AttestationError::Random)?;
        Ok(MeasurementRequest {
            version: MeasurementRequest::VERSION,
            verifier_nonce,
            guest_nonce,
            audience: self.audience.clone(),
            application: self.name.clone(),
            target: match &self.measure {
                Measure::Process(pid) => Target::Profile { pid: *pid },
                Measure::Virtual(pid, regions) => Target::Virtual {
                    pid: *pid,
                    regions: regions.clone(),
                },
                Measure::Physical(regions) => Target::Physical(regions.clone()),
            },
            algorithm: self.algorithm,
            kind: self.kind,
            expected: self.expected.clone(),
            page_digests: self.page_digests && matches!(self.measure, Measure::Process(_)),
        })
    }
}

/// Asks the host to measure an application's memory and the verifier to judge it.
///
/// Pages of the executable mappings of all processes of its program are made present first: what is not in RAM cannot
/// be measured. One that is started meanwhile is named by the host, and the request is made again a few times.
pub fn request_memory_attestation(
    host: &HostApi,
    enrollment: &Enrollment,
    application: &Application,
) -> Result<Attested, AttestationError> {
    if let Measure::Process(pid) = application.measure {
        make_program_present(pid, application.max_bytes)?;
    }
    let mut attempt = 1;
    loop {
        match request_once(host, enrollment, application) {
            Err(AttestationError::Host(HostApiError::Refused(Problem {
                kind,
                pid: Some(pid),
                ..
            }))) if kind == NOT_RESIDENT && attempt < ATTEMPTS => {
                make_executable_pages_present(pid, application.max_bytes)?;
                attempt += 1;
            }
            answered => return answered,
        }
    }
}

fn request_once(
    host: &HostApi,
    enrollment: &Enrollment,
    application: &Application,
) -> Result<Attested, AttestationError> {
    let nonce: Nonce = host.post("/attestation_nonce", &json!({}))?;
    let nonce = decode("nonce", &nonce.nonce)?;
    let nonce = nonce
        .try_into()
        .map_err(|_| HostApiError::Malformed("`nonce` has not 32 bytes".into()))?;
    let request = application.request(nonce)?;
    let signed = sign1(
        MessageType::MeasurementRequest,
        &request.encode(),
        &enrollment.chain,
        &enrollment.key,
    )?;
    let answer: Answer = host.post_cose("/attest_guest_memory", &signed)?;
    Ok(Attested {
        report: decode("report", &answer.report)?,
        page_digests: answer
            .page_digests
            .map(|digests| decode("page_digests", &digests))
            .transpose()?,
        token: answer.token,
        verdict: answer.verdict,
        token_certificates: answer
            .token_certificates
            .iter()
            .map(|certificate| decode("token_certificates", certificate))
            .collect::<Result<_, _>>()?,
        fleet_cas: answer.fleet_cas,
        asked: Asked {
            application: request.application,
            audience: request.audience,
            guest_nonce: request.guest_nonce,
            request_digest: sha256(&signed),
        },
    })
}

/// Verifies the token against the anchored fleet CA and against what was asked; only an affirming one is `Ok`.
pub fn verify_attestation_token(
    attested: &Attested,
    enrollment: &Enrollment,
) -> Result<Affirmed, AttestationError> {
    let asked = &attested.asked;
    let expectation = Expectation {
        audience: &asked.audience,
        application: &asked.application,
        guest: enrollment.guest,
        guest_nonce: asked.guest_nonce,
        request_digest: asked.request_digest,
        key_thumbprint: enrollment.key.public_key().thumbprint(),
        now_s: unix_now(),
    };
    let chains: Vec<_> = attested
        .token_certificates
        .iter()
        .map(|certificate| vec![certificate.clone()])
        .collect();
    let pinned = enrollment.anchored.ca();
    let fleet_ca = pinned.with_lineage(&attested.fleet_cas);
    let fleet_ca = fleet_ca.map_err(AnchorError::from)?;
    let result = verify_token(&attested.token, &chains, &fleet_ca, &expectation)?;
    Ok(result.into_affirmed()?)
}

/// Seconds since the Unix epoch.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
