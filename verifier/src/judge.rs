//! Judging a report: from bytes that a host sent to a durable verdict and a signed result.
//!
//! ```text
//!  bytes ─verify─► VerifiedReport ─its host? its nonce? revoked? booted from what? latest boot?─► profile
//!        ─appraise─► claims ─vault signs─► token ─durable─► answer
//! ```
//!
//! Each refusal on the way has its own [`JudgeError`], and then there is no token. A report that gets
//! to the end always has a verdict and a token, which says whether it is affirmed. The
//! nonce is used up as soon as the report is known to be genuine and its host's own; whatever is found
//! after that, the guest must ask for another.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use bartizan_attestation::appraisal::{Status, VerifiedReport, appraise, verify_report};
use bartizan_attestation::digest::sha256;
use bartizan_attestation::identity::CardId;
use bartizan_attestation::measurement::{Digest, SignedReport};
use bartizan_attestation::result::{
    self, EarClaims, FirmwareClaims, Issue, ReferenceClaims, ReleaseClaims,
};
use uuid::Uuid;

use crate::boots;
use crate::clock::now_ms;
use crate::firmware::ComparedFirmware;
use crate::metrics::status_word;
use crate::profile_cache::CurrentProfile;
use crate::service::Service;
use crate::storage::{BootedRelease, Evidence, Recorded, Standing, Verdict, VerdictSummary};
use crate::task::blocking;

mod error;

pub use error::JudgeError;

/// What a host hands in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Submission {
    /// The signed report.
    pub report: SignedReport,
    /// The guest's certificate chain, DER, leaf first, without the fleet CA.
    pub guest_chain: Vec<Vec<u8>>,
}

/// What a report came to: durable by now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judgement {
    /// Id of the verdict.
    pub verdict: String,
    /// The attestation result.
    pub token: String,
}

/// Judges a report that was handed in by the host `card`, which is known not to be revoked, and whose firmware was compared as
/// `firmware` says.
pub async fn judge(
    service: &Arc<Service>,
    card: CardId,
    firmware: Option<ComparedFirmware>,
    submission: Submission,
) -> Result<Judgement, JudgeError> {
    let (verified, report) = verify(service, submission).await?;
    let guest = verified.report().guest;
    if guest.card != card {
        return Err(JudgeError::OtherHost {
            peer: card,
            report: guest.card,
        });
    }
    // Before the nonce: the host hands its boot in, and the report again.
    let releases = boots::releases(service, guest.card, verified.phases()).await?;
    use_nonce(service, &verified)?;
    service.quota.spend(&guest, Instant::now())?;
    let application = verified.request().application.clone();
    let (storage, keys) = (&service.storage, verified.card_keys());
    let standing = storage.standing(&guest, Some(&application), keys, now_ms());
    let standing = standing.await?;
    check_standing(&standing, &verified)?;
    let profile = match standing.profile_revision {
        Some(revision) => {
            service
                .profiles
                .current(&service.storage, guest.card, &application, revision)
                .await?
        }
        None => None,
    };
    let id = Uuid::now_v7();
    let verdict = id.to_string();
    let claims = appraised(
        service,
        verified,
        profile.clone(),
        (releases, firmware),
        verdict.clone(),
    )
    .await?;
    let token = service.token_keys.sign(claims.to_json()).await?;
    let record = record(&claims, profile.as_deref(), report, token.clone());
    let more = record.summary.kept_kib().saturating_sub(1);
    service.quota.spend_more(&guest, more, Instant::now());
    match service.verdicts.record(guest, record).await? {
        Recorded::Durable => {
            let status = claims.submods.memory.ear_status;
            service.streams.appraised(&guest, id, status);
        }
        Recorded::Superseded => return Err(JudgeError::SupersededBoot { boot: guest.boot }),
    }
    service.metrics.judged(claims.submods.memory.ear_status);
    log(&claims);
    Ok(Judgement { verdict, token })
}

/// Signatures, chains, times, consistency. Work for the processor: not on the threads that serve.
async fn verify(
    service: &Arc<Service>,
    submission: Submission,
) -> Result<(VerifiedReport, Vec<u8>), JudgeError> {
    let service = Arc::clone(service);
    let work = move || {
        let now = now_ms();
        let Submission {
            report,
            guest_chain,
        } = submission;
        let verified = verify_report(&report, &guest_chain, &service.anchors.ca(), now)?;
        // The library's window is the widest there is; this verifier's may be narrower.
        let window_ms = service.config.report_window_s * 1000;
        let measured_at = verified.report().measured_at_ms;
        let age_ms = now.saturating_sub(measured_at);
        let ahead_ms = measured_at.saturating_sub(now);
        if age_ms > window_ms {
            return Err(JudgeError::Expired { age_ms, window_ms });
        }
        if ahead_ms > window_ms {
            return Err(JudgeError::Future {
                ahead_ms,
                window_ms,
            });
        }
        // The page digests have served their purpose once the report is appraised: they are not kept.
        Ok((verified, report.message))
    };
    blocking(work).await?
}

fn use_nonce(service: &Service, verified: &VerifiedReport) -> Result<(), JudgeError> {
    let mut nonces = service
        .nonces
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let nonce = &verified.request().verifier_nonce;
    Ok(nonces.consume(nonce, &verified.report().guest, Instant::now())?)
}

fn check_standing(standing: &Standing, verified: &VerifiedReport) -> Result<(), JudgeError> {
    let guest = verified.report().guest;
    if standing.host_revoked {
        return Err(JudgeError::HostRevoked { card: guest.card });
    }
    if standing.card_key_ended {
        return Err(JudgeError::CardKeySuperseded { card: guest.card });
    }
    if standing.guest_revoked {
        return Err(JudgeError::GuestRevoked { guest });
    }
    if standing.application_revoked {
        let application = verified.request().application.clone();
        return Err(JudgeError::ApplicationRevoked { application });
    }
    if standing
        .highest_boot
        .is_some_and(|highest| guest.boot < highest)
    {
        return Err(JudgeError::SupersededBoot { boot: guest.boot });
    }
    Ok(())
}

async fn appraised(
    service: &Arc<Service>,
    verified: VerifiedReport,
    profile: Option<Arc<CurrentProfile>>,
    (releases, firmware): (Option<[BootedRelease; 2]>, Option<ComparedFirmware>),
    verdict: String,
) -> Result<EarClaims, JudgeError> {
    let issue = Issue {
        issuer: service.issuer(),
        verdict,
        build: concat!("bartizan-verifier ", env!("CARGO_PKG_VERSION")).into(),
        now_s: now_ms() / 1000,
        lifetime_s: service.config.token_lifetime_s,
        releases: releases.into_iter().flatten().map(release_claims).collect(),
        firmware: firmware.map(firmware_claims),
    };
    let work = move || {
        let appraisal = appraise(
            &verified,
            profile.as_deref().map(|current| &current.profile),
        );
        result::claims(&verified, &appraisal, &issue)
    };
    Ok(blocking(work).await?)
}

fn firmware_claims(firmware: ComparedFirmware) -> FirmwareClaims {
    FirmwareClaims {
        pcrs: firmware.pcrs,
        reference: firmware.reference.map(|reference| ReferenceClaims {
            name: reference.name,
            id: Digest(reference.id.0.to_vec()),
        }),
    }
}

fn release_claims(release: BootedRelease) -> ReleaseClaims {
    ReleaseClaims {
        product: release.product,
        version: release.version,
        manifest: Digest(release.manifest.0.to_vec()),
    }
}

fn record(
    claims: &EarClaims,
    profile: Option<&CurrentProfile>,
    report: Vec<u8>,
    token: String,
) -> Verdict {
    let memory = &claims.submods.memory;
    Verdict {
        summary: VerdictSummary {
            id: claims.jti.clone(),
            judged_at_ms: now_ms(),
            guest: claims.sub.to_string(),
            host: claims.sub.card,
            application: claims.bartizan_application.clone(),
            profile_revision: profile.map(|current| current.revision),
            status: status_word(memory.ear_status).into(),
            // INVARIANT: structs of strings, numbers and lists always have a JSON form.
            reasons: serde_json::to_string(&memory.ear_verifier_claims).unwrap_or_default(),
            report_sha256: sha256(&report),
        },
        evidence: Evidence { report, token },
    }
}

fn log(claims: &EarClaims) {
    let memory = &claims.submods.memory;
    let (verdict, guest, application) = (&claims.jti, claims.sub, &claims.bartizan_application);
    let status = status_word(memory.ear_status);
    match (
        memory.ear_status,
        memory.ear_verifier_claims.findings.first(),
    ) {
        (Status::Contraindicated | Status::Warning, Some(first)) => {
            tracing::warn!(verdict, %guest, application, status, %first, "judged");
        }
        _ => tracing::info!(verdict, %guest, application, status, "judged"),
    }
}
