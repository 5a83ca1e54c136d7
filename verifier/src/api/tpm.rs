//! Enrolment of a host whose keys are in a TPM: it proves that before anything is certified.
//!
//! ```text
//!  host ── public areas of EK, card identity and attestation key, EK certificate ──► verifier
//!       ◄── two secrets, each encrypted to the EK for one of the two ────────────────
//!       ── both secrets, opened by the TPM ─────────────────────────────────────────► certificate
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::{constant_time, rand};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bartizan_attestation::cose::PublicKey;
use bartizan_attestation::csr::{self, CsrError};
use bartizan_attestation::digest::sha256;
use bartizan_attestation::keys::VaultKind;
use bartizan_attestation::tpm::{
    Credential, CredentialError, EndorsementCertificate, EndorsementError, PublicArea,
    PublicAreaError, SECRET_LEN, make_credential,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::input;
use crate::binary::Binary;
use crate::clock::{now_ms, now_s};
use crate::problem::{Problem, ProblemDocument, ProblemType};
use crate::service::Service;
use crate::storage::{EnrolledTpm, JoinCodeError};

/// How long a host may take to have its TPM open the secrets.
const PATIENCE: Duration = Duration::from_secs(120);
/// Most challenges at once; each takes a join code.
const MAX_PENDING: usize = 1024;

/// A TPM proved nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum TpmError {
    /// The code was not accepted.
    #[error(transparent)]
    JoinCode(#[from] JoinCodeError),
    /// The join code is for another kind of vault.
    #[error(
        "the join code is for a host with a {expected} vault; have one made by `bartizan host join-code --vault {found}`"
    )]
    OtherVault {
        /// What the code is for.
        expected: &'static str,
        /// What the host has.
        found: &'static str,
    },
    /// No maker is trusted.
    #[error(
        "no TPM is accepted: name the CA certificates of its makers in the verifier's configuration, `tpm_makers`"
    )]
    NoMakers,
    /// The TPM has no certificate.
    #[error("the TPM has no endorsement certificate; have its maker's written to it")]
    NoCertificate,
    /// The request proves no key.
    #[error("the request for a certificate is refused: {0}")]
    Request(#[from] CsrError),
    /// A key is not what it should be.
    #[error(transparent)]
    Area(#[from] PublicAreaError),
    /// The TPM's identity key is not the one that a certificate is asked for.
    #[error("the TPM's card identity key is not the key that a certificate is asked for")]
    OtherKey,
    /// The endorsement key is refused.
    #[error(transparent)]
    Endorsement(#[from] EndorsementError),
    /// Nothing could be encrypted to it.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The random number generator failed.
    #[error("the random number generator failed; see the system's log")]
    NoRandomness,
    /// Too many enrolments at once.
    #[error("too many hosts are enrolled at once; try again")]
    Busy,
    /// There is no challenge for that code and key.
    #[error("there is no challenge for this join code and key, or it has expired; enrol again")]
    NoChallenge,
    /// The secrets are wrong.
    #[error(
        "the TPM did not open the secrets that were encrypted for its keys: they are in another TPM, or in none"
    )]
    NotActivated,
}

impl ProblemType for TpmError {
    fn kind(&self) -> (&'static str, StatusCode) {
        let kind = match self {
            Self::JoinCode(error) => return error.kind(),
            Self::NoRandomness => return ("no-randomness", StatusCode::INTERNAL_SERVER_ERROR),
            Self::Busy => return ("enrolments-busy", StatusCode::SERVICE_UNAVAILABLE),
            Self::Request(_) => return ("not-signable", StatusCode::UNPROCESSABLE_ENTITY),
            Self::OtherVault { .. } => "vault-of-other-kind",
            Self::NoMakers => "tpm-makers-unknown",
            Self::NoCertificate => "tpm-without-certificate",
            Self::Area(_) => "tpm-key-refused",
            Self::OtherKey => "tpm-key-of-other-request",
            Self::Endorsement(_) | Self::Credential(_) => "tpm-endorsement-refused",
            Self::NoChallenge => "tpm-challenge-unknown",
            Self::NotActivated => "tpm-not-activated",
        };
        (kind, StatusCode::FORBIDDEN)
    }

    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::JoinCode(error) => error.retry_after_s(),
            Self::Busy => Some(PATIENCE.as_secs()),
            _ => None,
        }
    }
}

/// What a TPM shows of itself; the keys as TPMT_PUBLIC.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TpmDocument {
    /// The join code, as the operator got it.
    join_code: Binary,
    /// The host's name: the one that the code was made for.
    name: String,
    /// PKCS#10 request of the card identity key, DER.
    csr: Binary,
    /// The endorsement key.
    endorsement: Binary,
    /// Its certificate, DER, with whatever follows it in the TPM's memory; absent or null where the TPM has none.
    #[serde(default)]
    certificate: Option<Binary>,
    /// The card identity key.
    card: Binary,
    /// The key that signs quotes.
    attestation: Binary,
}

/// Secrets that only the TPM opens.
#[derive(Serialize, ToSchema)]
pub(super) struct TpmChallengeDocument {
    /// For the card identity key.
    card: CredentialDocument,
    /// For the key that signs quotes.
    attestation: CredentialDocument,
}

/// A secret for one object (TPM2_ActivateCredential).
#[derive(Serialize, ToSchema)]
struct CredentialDocument {
    /// The contents of TPM2B_ID_OBJECT.
    credential: Binary,
    /// The contents of TPM2B_ENCRYPTED_SECRET.
    secret: Binary,
}

impl From<Credential> for CredentialDocument {
    fn from(made: Credential) -> Self {
        Self {
            credential: made.credential.into(),
            secret: made.secret.into(),
        }
    }
}

/// Challenges that hosts have yet to answer, by their join codes' hashes.
#[derive(Debug, Default)]
pub struct Challenges(Mutex<HashMap<[u8; 32], Challenge>>);

#[derive(Debug)]
struct Challenge {
    key: PublicKey,
    secrets: [u8; 2 * SECRET_LEN],
    tpm: EnrolledTpm,
    since: Instant,
}

impl Challenges {
    /// One a join code: a new one takes the former one's place.
    fn add(&self, code: [u8; 32], challenge: Challenge) -> Result<(), TpmError> {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pending.retain(|_, challenge| challenge.since.elapsed() < PATIENCE);
        if pending.len() >= MAX_PENDING && !pending.contains_key(&code) {
            return Err(TpmError::Busy);
        }
        pending.insert(code, challenge);
        Ok(())
    }

    /// The TPM that has answered with the right secrets. A challenge is answered once, rightly or not.
    pub(super) fn answered(
        &self,
        code: &[u8; 32],
        key: &PublicKey,
        secrets: &[u8],
    ) -> Result<EnrolledTpm, TpmError> {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let challenge = pending
            .remove(code)
            .filter(|challenge| challenge.since.elapsed() < PATIENCE && challenge.key == *key)
            .ok_or(TpmError::NoChallenge)?;
        constant_time::verify_slices_are_equal(&challenge.secrets, secrets)
            .map_err(|_| TpmError::NotActivated)?;
        Ok(challenge.tpm)
    }
}

/// Encrypts two secrets to a host's TPM: its join code is used once both came back.
#[utoipa::path(
    post, path = "/v1/hosts/tpm-challenge", tag = "open",
    request_body = TpmDocument,
    responses(
        (status = 200, body = TpmChallengeDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn challenge(
    State(service): State<Arc<Service>>,
    input::Json(host, _share): input::Json<TpmDocument>,
) -> Result<Json<TpmChallengeDocument>, Problem> {
    let code = sha256(&host.join_code.0);
    let wanted = service.storage.join_code(&code, &host.name, now_ms()).await;
    check_kind(wanted.map_err(TpmError::from)?.vault, VaultKind::Tpm2)?;
    let (document, challenge) = prove(&service, &host)?;
    service.challenges.add(code, challenge)?;
    Ok(Json(document))
}

/// The kind that the operator expects.
pub(super) fn check_kind(expected: VaultKind, found: VaultKind) -> Result<(), TpmError> {
    if expected == found {
        return Ok(());
    }
    Err(TpmError::OtherVault {
        expected: expected.name(),
        found: found.name(),
    })
}

fn prove(
    service: &Service,
    host: &TpmDocument,
) -> Result<(TpmChallengeDocument, Challenge), TpmError> {
    let key = csr::verify(&host.csr.0)?;
    let makers = service.config.tpm_makers.as_ref();
    let makers = makers.ok_or(TpmError::NoMakers)?;
    let certificate = host.certificate.as_ref().ok_or(TpmError::NoCertificate)?;
    let endorsement = EndorsementCertificate::verify(
        &certificate.0,
        PublicArea::parse(&host.endorsement.0)?,
        &makers.0,
        now_s(),
    )?;
    let card = PublicArea::parse(&host.card.0)?;
    if *card.policy_bound_signer()? != key {
        return Err(TpmError::OtherKey);
    }
    let attestation = PublicArea::parse(&host.attestation.0)?;
    let attestation_key = attestation.attestation_key()?.spki_der();

    let mut secrets = [0; 2 * SECRET_LEN];
    rand::fill(&mut secrets).map_err(|_| TpmError::NoRandomness)?;
    let made = |area: &PublicArea, secret: &[u8]| {
        // INVARIANT: half of the secrets is one.
        let secret = secret.try_into().map_err(|_| TpmError::NoRandomness)?;
        let made = make_credential(endorsement.area(), &area.name(), secret)?;
        Ok::<_, TpmError>(made.into())
    };
    let (first, second) = secrets.split_at(SECRET_LEN);
    let document = TpmChallengeDocument {
        card: made(&card, first)?,
        attestation: made(&attestation, second)?,
    };
    let challenge = Challenge {
        key,
        secrets,
        tpm: EnrolledTpm {
            endorsement: *endorsement.sha256(),
            attestation_key,
        },
        since: Instant::now(),
    };
    Ok((document, challenge))
}
