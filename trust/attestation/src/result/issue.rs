//! From an appraisal to claims.

use super::claims::{
    Algorithms, AttesterClaims, Basis, BootClaims, Confirmation, EarClaims, FirmwareClaims,
    InstanceClaims, MemoryAppraisal, PhaseClaims, ProcessClaims, ReleaseClaims, Submods,
    TargetKind, TranslationClaims, TrustworthinessVector, UnappraisedRegion, VerifierClaims,
    VerifierId, executables,
};
use crate::appraisal::{Appraisal, VerifiedReport, quoted};
use crate::boot::{Phase, Sha384};
use crate::measurement::{Digest, DigestKind, Report, Target};

/// What only the issuing verifier knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Issue {
    /// The verifier's URL (`iss`); 1 to 512 bytes.
    pub issuer: String,
    /// Id of the verdict (`jti`); 1 to 64 bytes.
    pub verdict: String,
    /// Name and version of the verifier's software (`ear_verifier_id.build`).
    pub build: String,
    /// Now, in seconds since the Unix epoch.
    pub now_s: u64,
    /// For how long the result holds, in seconds; at most [`super::MAX_LIFETIME_S`].
    pub lifetime_s: u64,
    /// The registered releases that the host was booted from: base, then bundle; none where none are demanded and known.
    pub releases: Vec<ReleaseClaims>,
    /// What the host's own firmware was compared with, where it was.
    pub firmware: Option<FirmwareClaims>,
}

/// The claims of the result of an appraisal: bound to the guest, its key, its nonce and its request.
#[must_use]
pub fn claims(verified: &VerifiedReport, appraisal: &Appraisal, issue: &Issue) -> EarClaims {
    let request = verified.request();
    EarClaims {
        eat_profile: EarClaims::PROFILE.into(),
        iss: issue.issuer.clone(),
        sub: verified.report().guest,
        aud: request.audience.clone(),
        iat: issue.now_s,
        nbf: issue.now_s,
        exp: issue.now_s.saturating_add(issue.lifetime_s),
        jti: issue.verdict.clone(),
        eat_nonce: request.guest_nonce,
        cnf: Confirmation {
            jkt: *verified.guest_key_thumbprint(),
        },
        ear_verifier_id: VerifierId {
            developer: env!("CARGO_PKG_REPOSITORY").into(),
            build: issue.build.clone(),
        },
        submods: Submods {
            memory: memory(verified, appraisal),
        },
        bartizan_request: *verified.request_digest(),
        bartizan_application: request.application.clone(),
        bartizan_basis: basis(verified, appraisal, issue),
    }
}

fn memory(verified: &VerifiedReport, appraisal: &Appraisal) -> MemoryAppraisal {
    let (report, request) = (verified.report(), verified.request());
    MemoryAppraisal {
        ear_status: appraisal.status,
        ear_trustworthiness_vector: TrustworthinessVector {
            executables: executables(appraisal.status),
        },
        ear_appraisal_policy_ids: appraisal.profile.iter().cloned().collect(),
        ear_attester_claims: AttesterClaims {
            algorithms: Algorithms {
                algorithm: request.algorithm,
                digest_kind: match request.kind {
                    DigestKind::Flat => "flat".into(),
                    DigestKind::Tree => "tree".into(),
                },
            },
            digest: report.digest.clone(),
            regions: report.regions.len() as u64,
            measured_at_ms: report.measured_at_ms,
            process: process(report),
            other_instances: other_instances(report),
        },
        ear_verifier_claims: VerifierClaims {
            findings: appraisal.findings.clone(),
            omitted_findings: appraisal.omitted_findings,
            expected_digest: appraisal.expected,
        },
    }
}

fn process(report: &Report) -> Option<ProcessClaims> {
    report.processes.first().map(|process| ProcessClaims {
        pid: process.pid,
        start_time_ns: process.start_time_ns,
        executable: quoted(&process.executable),
    })
}

fn other_instances(report: &Report) -> Vec<InstanceClaims> {
    let others = report.processes.iter().skip(1);
    others
        .map(|process| InstanceClaims {
            pid: process.pid,
            start_time_ns: process.start_time_ns,
        })
        .collect()
}

fn basis(verified: &VerifiedReport, appraisal: &Appraisal, issue: &Issue) -> Basis {
    let report = verified.report();
    let unappraised = appraisal
        .unappraised
        .iter()
        .map(|unappraised| UnappraisedRegion {
            pid: unappraised.pid,
            address: unappraised.region.address,
            size: unappraised.region.size,
        });
    Basis {
        vault: verified.vault().name().into(),
        target: match verified.request().target {
            Target::Physical(_) => TargetKind::Physical,
            Target::Virtual { .. } => TargetKind::Virtual,
            Target::Profile { .. } => TargetKind::Profile,
        },
        translation: report.translation.as_ref().map(|basis| TranslationClaims {
            levels: basis.levels,
            kernel: basis.kernel.clone(),
            banner: quoted(&basis.banner),
        }),
        snapshot: report.snapshot.mode.name().into(),
        launch_measurement: report.launch_measurement.clone(),
        boot: boot(verified.phases(), issue),
        hypervisor: quoted(&report.hypervisor_version),
        unappraised: unappraised.collect(),
    }
}

fn boot(phases: &[Sha384], issue: &Issue) -> Option<BootClaims> {
    let ended = Phase::ALL.into_iter().zip(phases);
    let ended = ended.map(|(phase, register)| PhaseClaims {
        phase: phase.name().into(),
        register: Digest(register.0.to_vec()),
    });
    (!phases.is_empty()).then(|| BootClaims {
        phases: ended.collect(),
        releases: issue.releases.clone(),
        firmware: issue.firmware.clone(),
    })
}
