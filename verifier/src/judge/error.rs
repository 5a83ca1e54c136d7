//! Why a report got no verdict, and the problem type of each.

use axum::http::StatusCode;
use bartizan_attestation::appraisal::{InconsistentReportError, ReportError};
use bartizan_attestation::certificates::ChainError;
use bartizan_attestation::cose::CoseError;
use bartizan_attestation::identity::{CardId, GuestIdentity};

use crate::boots::BootError;
use crate::nonces::NonceError;
use crate::problem::ProblemType;
use crate::quota::QuotaError;
use crate::storage::StorageError;
use crate::task::TaskError;
use crate::token_keys::TokenKeysError;

/// A report was not judged: there is neither verdict nor token.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// The report was not verified.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// Older than this verifier allows.
    #[error("the report was made {age_ms} ms ago, more than {window_ms}; ask for a new one")]
    Expired {
        /// Its age.
        age_ms: u64,
        /// What is allowed.
        window_ms: u64,
    },
    /// Further in the future than this verifier allows.
    #[error(
        "the report was made {ahead_ms} ms in the future, more than {window_ms}; set the host's clock"
    )]
    Future {
        /// How far ahead it is.
        ahead_ms: u64,
        /// What is allowed.
        window_ms: u64,
    },
    /// The report is of a guest of another host than the one that handed it in.
    #[error("the report is of a guest of host {report}, but host {peer} handed it in")]
    OtherHost {
        /// Who handed it in.
        peer: CardId,
        /// Whose it is.
        report: CardId,
    },
    /// The host's boot was not accepted.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// The nonce was not accepted.
    #[error(transparent)]
    Nonce(#[from] NonceError),
    /// There are too many verdicts on the guest, or of the host.
    #[error(transparent)]
    Quota(#[from] QuotaError),
    /// The host is revoked.
    #[error("host {card} is revoked; an operator can see why in GET /v1/revocations")]
    HostRevoked {
        /// Its card.
        card: CardId,
    },
    /// The report's or the guest's key was certified by a card identity key that another came after, and the overlap is over.
    #[error(
        "a key of this report was certified by a former identity key of card {card}, which is not accepted any more; have it certified anew: `bartizan-guest renew`, or wait for the measurer's next key"
    )]
    CardKeySuperseded {
        /// The card.
        card: CardId,
    },
    /// The guest is revoked.
    #[error("{guest} is revoked; an operator can see why in GET /v1/revocations")]
    GuestRevoked {
        /// The guest.
        guest: GuestIdentity,
    },
    /// The application is revoked.
    #[error(
        "application `{application}` is revoked; an operator can see why in GET /v1/revocations"
    )]
    ApplicationRevoked {
        /// Its name.
        application: String,
    },
    /// A later boot of the same VM on the same card was seen: this identity is a recycled one.
    #[error("boot {boot} of this VM was followed by a later one; only the latest boot is attested")]
    SupersededBoot {
        /// The boot in the report.
        boot: u64,
    },
    /// The result was not signed.
    #[error(transparent)]
    Signing(#[from] TokenKeysError),
    /// The verdict could not be made durable.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It was not ended.
    #[error(transparent)]
    Task(#[from] TaskError),
}

impl ProblemType for JudgeError {
    fn kind(&self) -> (&'static str, StatusCode) {
        let kind = match self {
            Self::Report(error) if is_malformed(error) => {
                return (report(error), StatusCode::BAD_REQUEST);
            }
            Self::Report(error) => report(error),
            Self::Expired { .. } => "report-expired",
            Self::Future { .. } => "report-from-future",
            Self::OtherHost { .. } => "report-of-other-host",
            Self::HostRevoked { .. } => "host-revoked",
            Self::CardKeySuperseded { .. } => "card-key-superseded",
            Self::GuestRevoked { .. } => "guest-revoked",
            Self::ApplicationRevoked { .. } => "application-revoked",
            Self::SupersededBoot { .. } => "guest-superseded",
            Self::Boot(error) => return error.kind(),
            Self::Nonce(error) => return error.kind(),
            Self::Quota(error) => return error.kind(),
            Self::Signing(error) => return error.kind(),
            Self::Storage(error) => return error.kind(),
            Self::Task(error) => return error.kind(),
        };
        (kind, StatusCode::FORBIDDEN)
    }

    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Boot(error) => error.retry_after_s(),
            Self::Quota(error) => error.retry_after_s(),
            Self::Signing(error) => error.retry_after_s(),
            Self::Storage(error) => error.retry_after_s(),
            Self::Task(error) => error.retry_after_s(),
            _ => None,
        }
    }
}

/// Whether it is no message at all, rather than one that is refused.
fn is_malformed(error: &ReportError) -> bool {
    use ReportError as E;
    match error {
        E::Report(cose) | E::Request(cose) => !matches!(cose, CoseError::BadSignature(_)),
        E::ReportPayload(_) | E::RequestPayload(_) => true,
        _ => false,
    }
}

fn report(error: &ReportError) -> &'static str {
    use ReportError as E;
    match error {
        E::Report(CoseError::BadSignature(_)) => "report-signature-wrong",
        E::Report(_) | E::ReportPayload(_) => "report-malformed",
        E::ReportChain(error) => match error {
            ChainError::Expired => "report-key-expired",
            ChainError::NotYetValid => "report-key-not-yet-valid",
            ChainError::ForeignCa => "report-key-of-foreign-fleet",
            _ => "report-key-refused",
        },
        E::Request(CoseError::BadSignature(_)) => "request-signer-wrong",
        E::Request(_) | E::RequestPayload(_) => "request-malformed",
        E::GuestChain(error) => match error {
            ChainError::Expired => "guest-key-expired",
            ChainError::NotYetValid => "guest-key-not-yet-valid",
            ChainError::ForeignCa => "guest-key-of-foreign-fleet",
            _ => "guest-key-refused",
        },
        E::OtherGuest { .. } => "report-of-other-guest",
        E::OtherCard { .. } => "report-of-other-card",
        E::OtherLaunch => "report-of-other-launch",
        E::OtherBoot => "report-of-other-boot",
        E::OtherVault => "report-vault-unclear",
        E::NoPageDigests => "report-without-page-digests",
        E::Expired { .. } => "report-expired",
        E::Future { .. } => "report-from-future",
        E::Inconsistent(error) => match error {
            InconsistentReportError::Regions => "report-of-other-regions",
            InconsistentReportError::Process => "report-of-other-process",
            _ => "report-inconsistent",
        },
    }
}
