//! The JSON documents of the API.

use std::fmt;

use bartizan_attestation::cose::MAX_CHAIN;
use bartizan_attestation::measurement::Digest;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::counters::ForkDocument;
use crate::binary::Binary;
use crate::storage::{
    EnrolledHost, Evidence, KeptVerdict, ProfileSummary, Revocation, RevocationKind, StorageError,
    VerdictSummary,
};

/// A certificate chain and the anchor it leads to.
#[derive(Serialize, ToSchema)]
pub(super) struct EnrolledDocument {
    /// The card identity's chain: DER, leaf first, without the fleet CA.
    pub(super) chain: Vec<Binary>,
    /// The fleet CA certificate, DER.
    pub(super) fleet_ca: Binary,
}

/// A host that wants to join.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EnrolDocument {
    /// The join code, as the operator got it.
    pub(super) join_code: Binary,
    /// The host's name: the one that the code was made for.
    pub(super) name: String,
    /// PKCS#10 request of the card identity key, DER.
    pub(super) csr: Binary,
    /// Which back end its vault has: `development`, `tpm2`, `pkcs11`.
    pub(super) vault: String,
    /// With a TPM: the two secrets of `POST /v1/hosts/tpm-challenge`, the card's first, as the TPM opened them.
    #[serde(default)]
    pub(super) secrets: Option<Binary>,
}

/// A join code to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewJoinCodeDocument {
    /// Name of the host that may join with it: 1 to 63 of `a-z`, `0-9`, `.`, `-`.
    pub(super) name: String,
    /// Seconds for which it is good: 1 to 604800.
    pub(super) lifetime_s: u64,
    /// Which back end the host's vault must have: `development` (software), `tpm2`, which the TPM proves, or `pkcs11`, for which
    /// the operator's word stands. `development` if not given.
    #[serde(default)]
    pub(super) vault: Option<String>,
    /// Whether the host may have another TPM than the one that its name is known with.
    #[serde(default)]
    pub(super) another_tpm: bool,
}

/// A join code. It is shown once; the verifier keeps its hash only.
#[derive(Serialize, ToSchema)]
pub(super) struct JoinCodeDocument {
    /// 32 random bytes.
    pub(super) code: Binary,
    /// When it expires, in milliseconds since the Unix epoch.
    pub(super) expires_at_ms: u64,
}

/// The enrolled hosts.
#[derive(Serialize, ToSchema)]
pub(super) struct HostsDocument {
    /// By name.
    pub(super) hosts: Vec<HostDocument>,
    /// What `after` has to be for the next page; null on the last one.
    pub(super) next: Option<String>,
}

/// An enrolled host.
#[derive(Serialize, ToSchema)]
pub(super) struct HostDocument {
    /// Its card id: 64 hexadecimal digits.
    pub(super) card: String,
    /// Its name.
    pub(super) name: String,
    /// The operator who made its join code.
    pub(super) operator: String,
    /// When it enrolled last, in milliseconds since the Unix epoch.
    pub(super) enrolled_at_ms: u64,
    /// Its card identity's certificate, DER.
    pub(super) certificate: Binary,
    /// SHA-256 over the SubjectPublicKeyInfo of the key that its card identity has now, 64 hexadecimal digits; the first one is the
    /// card id.
    pub(super) card_key: String,
    /// Which back end its vault has.
    pub(super) vault: String,
    /// SHA-256 over the name of the endorsement key of the TPM that its identity was proved to be in, 64 hexadecimal digits.
    pub(super) endorsement: Option<String>,
    /// Who reported in with its vault, where that was found to go on twice from one state: it is refused then.
    pub(super) fork: Option<ForkDocument>,
}

impl From<EnrolledHost> for HostDocument {
    fn from(host: EnrolledHost) -> Self {
        Self {
            card: host.card.to_string(),
            name: host.name,
            operator: host.operator,
            enrolled_at_ms: host.enrolled_at_ms,
            certificate: host.certificate.into(),
            card_key: hex::encode(host.card_key),
            vault: host.vault.name().into(),
            endorsement: host
                .tpm
                .map(|tpm| Digest(tpm.endorsement.to_vec()).to_string()),
            fork: None,
        }
    }
}

/// The guest that a nonce is for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NonceRequestDocument {
    /// Its URN, `urn:bartizan:guest:<card>:<vm uuid>:<boot>`; a guest of the host that asks.
    pub(super) guest: String,
}

/// A nonce.
#[derive(Serialize, ToSchema)]
pub(super) struct NonceDocument {
    /// 32 bytes, good for one report of this guest.
    pub(super) nonce: Binary,
    /// When it expires, in milliseconds since the Unix epoch.
    pub(super) expires_at_ms: u64,
}

/// A report.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportDocument {
    /// The signed report (COSE_Sign1).
    pub(super) report: Binary,
    /// The page digests that the report commits to, concatenated; absent or null where it commits to none. They are not
    /// kept.
    #[serde(default)]
    pub(super) page_digests: Option<Binary>,
    /// The guest's certificate chain: DER, leaf first, without the fleet CA; at most 4 certificates.
    #[serde(deserialize_with = "chain")]
    pub(super) guest_chain: Vec<Binary>,
}

/// What a report came to.
#[derive(Serialize, ToSchema)]
pub(super) struct JudgementDocument {
    /// Id of the verdict.
    pub(super) verdict: String,
    /// The attestation result: EAR as a JWT. It says whether the report was affirmed.
    pub(super) token: String,
}

/// An application's profile and which revision it is.
#[derive(Serialize, ToSchema)]
pub(super) struct ProfileRevisionDocument {
    /// The application.
    pub(super) application: String,
    /// The revision, from 1.
    pub(super) revision: u64,
    /// Who put it.
    pub(super) operator: String,
    /// When, in milliseconds since the Unix epoch.
    pub(super) created_at_ms: u64,
    /// The profile.
    #[schema(value_type = serde_json::Value)]
    pub(super) profile: Box<RawValue>,
}

/// The applications that have a profile.
#[derive(Serialize, ToSchema)]
pub(super) struct ProfilesDocument {
    /// By name.
    pub(super) profiles: Vec<ProfileSummaryDocument>,
    /// What `after` has to be for the next page; null on the last one.
    pub(super) next: Option<String>,
}

/// An application that has a profile.
#[derive(Serialize, ToSchema)]
pub(super) struct ProfileSummaryDocument {
    /// The application.
    pub(super) application: String,
    /// The current revision.
    pub(super) revision: u64,
    /// Who put it.
    pub(super) operator: String,
    /// When, in milliseconds since the Unix epoch.
    pub(super) created_at_ms: u64,
}

impl From<ProfileSummary> for ProfileSummaryDocument {
    fn from(summary: ProfileSummary) -> Self {
        let ProfileSummary {
            application,
            revision,
            operator,
            created_at_ms,
        } = summary;
        Self {
            application,
            revision,
            operator,
            created_at_ms,
        }
    }
}

/// Which verdicts to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct VerdictQuery {
    /// Only of this guest, by its URN.
    pub(super) guest: Option<String>,
    /// Only of this application.
    pub(super) application: Option<String>,
    /// At most so many, 1 to 1000; 100 if not given.
    pub(super) limit: Option<u32>,
    /// Only those older than the verdict with this id: the `next` of the page before.
    pub(super) after: Option<String>,
}

/// Verdicts.
#[derive(Serialize, ToSchema)]
pub(super) struct VerdictsDocument {
    /// Newest first.
    pub(super) verdicts: Vec<VerdictSummaryDocument>,
    /// What `after` has to be for the next page; null on the last one.
    pub(super) next: Option<String>,
}

/// A verdict without its evidence.
#[derive(Serialize, ToSchema)]
pub(super) struct VerdictSummaryDocument {
    /// Its id (UUIDv7), also the token's `jti`.
    pub(super) id: String,
    /// When it was judged, in milliseconds since the Unix epoch.
    pub(super) judged_at_ms: u64,
    /// The guest's URN.
    pub(super) guest: String,
    /// The host's card id.
    pub(super) host: String,
    /// The application that the guest named.
    pub(super) application: String,
    /// The revision of the profile that it was judged by.
    pub(super) profile_revision: Option<u64>,
    /// `affirming`, `contraindicated`, `warning` or `none`.
    pub(super) status: String,
    /// Why: the result's `ear_verifier_claims`.
    #[schema(value_type = Object)]
    pub(super) reasons: Box<RawValue>,
    /// SHA-256 of the report: 64 hexadecimal digits.
    pub(super) report_sha256: String,
}

/// A verdict with its evidence, as long as that is kept.
#[derive(Serialize, ToSchema)]
pub(super) struct VerdictDocument {
    /// What the list shows of it.
    #[serde(flatten)]
    pub(super) summary: VerdictSummaryDocument,
    /// The report, verbatim; null once it was dropped.
    pub(super) report: Option<Binary>,
    /// The attestation result that was handed out; null once it was dropped.
    pub(super) token: Option<String>,
    /// When report and token were dropped, in milliseconds since the Unix epoch; null while they are kept.
    pub(super) evidence_dropped_at_ms: Option<u64>,
}

impl TryFrom<VerdictSummary> for VerdictSummaryDocument {
    type Error = StorageError;

    fn try_from(summary: VerdictSummary) -> Result<Self, Self::Error> {
        let damaged = |_| StorageError::Damaged { table: "verdicts" };
        Ok(Self {
            id: summary.id,
            judged_at_ms: summary.judged_at_ms,
            guest: summary.guest,
            host: summary.host.to_string(),
            application: summary.application,
            profile_revision: summary.profile_revision,
            status: summary.status,
            // Checked, and sent as it is: as a tree it would be many times its size.
            reasons: RawValue::from_string(summary.reasons).map_err(damaged)?,
            report_sha256: Digest(summary.report_sha256.to_vec()).to_string(),
        })
    }
}

impl TryFrom<KeptVerdict> for VerdictDocument {
    type Error = StorageError;

    fn try_from(verdict: KeptVerdict) -> Result<Self, Self::Error> {
        let summary = verdict.summary.try_into()?;
        Ok(match verdict.evidence {
            Ok(Evidence { report, token }) => Self {
                summary,
                report: Some(report.into()),
                token: Some(token),
                evidence_dropped_at_ms: None,
            },
            Err(dropped_at_ms) => Self {
                summary,
                report: None,
                token: None,
                evidence_dropped_at_ms: Some(dropped_at_ms),
            },
        })
    }
}

/// A revocation to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRevocationDocument {
    /// What kind of subject.
    pub(super) kind: RevocationKind,
    /// The subject: a card id, a guest's URN (without the boot counter: every boot), an
    /// application's name, an operator's name.
    pub(super) subject: String,
    /// Why, for people: 1 to 1000 bytes.
    pub(super) reason: String,
}

/// Which revocation to take back.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RevocationQuery {
    /// What kind of subject.
    pub(super) kind: RevocationKind,
    /// The subject, as it was revoked.
    pub(super) subject: String,
}

/// The revocations in force.
#[derive(Serialize, ToSchema)]
pub(super) struct RevocationsDocument {
    /// Newest first.
    pub(super) revocations: Vec<RevocationDocument>,
    /// What `after` has to be for the next page; null on the last one.
    pub(super) next: Option<String>,
}

/// How an operator stands.
#[derive(Serialize, ToSchema)]
pub(super) struct OperatorStandingDocument {
    /// The operator's name.
    pub(super) operator: String,
    /// Whether the name is revoked. Nothing else is known of operators: one of whom nobody ever heard is not.
    pub(super) revoked: bool,
}

/// A revocation.
#[derive(Serialize, ToSchema)]
pub(super) struct RevocationDocument {
    /// What kind of subject.
    pub(super) kind: RevocationKind,
    /// The subject.
    pub(super) subject: String,
    /// Why.
    pub(super) reason: String,
    /// Who revoked it.
    pub(super) operator: String,
    /// When, in milliseconds since the Unix epoch.
    pub(super) created_at_ms: u64,
}

impl From<Revocation> for RevocationDocument {
    fn from(revocation: Revocation) -> Self {
        let Revocation {
            kind,
            subject,
            reason,
            operator,
            created_at_ms,
        } = revocation;
        Self {
            kind,
            subject,
            reason,
            operator,
            created_at_ms,
        }
    }
}

/// A chain, bounded while it is read: an empty certificate takes three bytes of a body, and eight times that in memory.
fn chain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Binary>, D::Error> {
    struct Certificates;

    impl<'de> Visitor<'de> for Certificates {
        type Value = Vec<Binary>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX_CHAIN} certificates")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut chain = Vec::new();
            while let Some(certificate) = list.next_element()? {
                if chain.len() >= MAX_CHAIN {
                    return Err(A::Error::invalid_length(MAX_CHAIN + 1, &self));
                }
                chain.push(certificate);
            }
            Ok(chain)
        }
    }

    deserializer.deserialize_seq(Certificates)
}
