//! Problem documents (RFC 9457). The type tells a program what went wrong, the detail tells a person.

use axum::Json;
use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bartizan_attestation::host::CardRefusal;
use bartizan_attestation::measurement::Refusal;
use bartizan_attestation::renewal::RenewalRefusal;
use serde_json::{Value, json};

use crate::daemon::LinkError;

/// One problem: HTTP status, type, and what a person should know.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    name: &'static str,
    detail: String,
    /// Members beyond RFC 9457's own, for programs.
    extensions: Vec<(&'static str, Value)>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, name: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            name,
            detail: detail.into(),
            extensions: Vec::new(),
        }
    }

    pub(super) fn no_such_route(uri: &Uri) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no-such-route",
            format!("there is no {}", uri.path()),
        )
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "this route has another method",
        )
    }

    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    fn host(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "host-internal", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": format!("urn:bartizan:problem:{}", self.name),
            "title": self.name.replace('-', " "),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(body) = body.as_object_mut() {
            body.extend(
                (self.extensions.into_iter()).map(|(name, value)| (name.to_owned(), value)),
            );
        }
        let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
        (
            self.status,
            content_type,
            Json(body).into_response().into_body(),
        )
            .into_response()
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (status, name) = kind(&refusal);
        let extensions = match &refusal {
            Refusal::NotResident { pid, addresses, .. } => {
                vec![("pid", json!(pid)), ("addresses", json!(addresses))]
            }
            Refusal::Busy { retry_after_ms } => vec![("retry_after_ms", json!(retry_after_ms))],
            _ => Vec::new(),
        };
        Self {
            status,
            name,
            detail: refusal.to_string(),
            extensions,
        }
    }
}

fn kind(refusal: &Refusal) -> (StatusCode, &'static str) {
    match refusal {
        Refusal::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed"),
        Refusal::UnknownAlgorithm { .. } => (StatusCode::BAD_REQUEST, "unknown-algorithm"),
        Refusal::WrongSigner => (StatusCode::FORBIDDEN, "wrong-signer"),
        Refusal::NotEnrolled => (StatusCode::FORBIDDEN, "not-enrolled"),
        Refusal::EmptyRegion { .. } => (StatusCode::BAD_REQUEST, "empty-region"),
        Refusal::UnalignedRegion { .. } => (StatusCode::BAD_REQUEST, "unaligned-region"),
        Refusal::WrappingRegion { .. } => (StatusCode::BAD_REQUEST, "wrapping-region"),
        Refusal::OverlappingRegions { .. } => (StatusCode::BAD_REQUEST, "overlapping-regions"),
        Refusal::NotRam { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "not-ram"),
        Refusal::OverBudget { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "over-budget"),
        Refusal::Busy { .. } => (StatusCode::TOO_MANY_REQUESTS, "busy"),
        Refusal::UnknownProcess { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "unknown-process"),
        Refusal::NoAddressSpace { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "no-address-space"),
        Refusal::Unmapped { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "unmapped"),
        Refusal::NotResident { .. } => (StatusCode::CONFLICT, "not-resident"),
        Refusal::TooManyProcesses { .. } => {
            (StatusCode::UNPROCESSABLE_ENTITY, "too-many-processes")
        }
        Refusal::TooManyPageTables { .. } => {
            (StatusCode::UNPROCESSABLE_ENTITY, "too-many-page-tables")
        }
        Refusal::KernelNotUnderstood(_) => {
            (StatusCode::UNPROCESSABLE_ENTITY, "kernel-not-understood")
        }
        Refusal::InconsistentMemory(_) => (StatusCode::CONFLICT, "inconsistent-memory"),
        Refusal::PauseFailed => (StatusCode::SERVICE_UNAVAILABLE, "pause-failed"),
        Refusal::NoReportKey => (StatusCode::SERVICE_UNAVAILABLE, "no-report-key"),
        Refusal::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "measurer-unavailable"),
    }
}

impl From<RenewalRefusal> for Problem {
    fn from(refusal: RenewalRefusal) -> Self {
        let (status, name) = match &refusal {
            RenewalRefusal::Malformed(_)
            | RenewalRefusal::TooLarge { .. }
            | RenewalRefusal::Version(_) => (StatusCode::BAD_REQUEST, "malformed"),
            RenewalRefusal::NotEnrolled => (StatusCode::FORBIDDEN, "not-enrolled"),
            RenewalRefusal::WrongSigner => (StatusCode::FORBIDDEN, "wrong-signer"),
            RenewalRefusal::Superseded => (StatusCode::CONFLICT, "certificate-superseded"),
            RenewalRefusal::Expired => (StatusCode::FORBIDDEN, "key-expired"),
            RenewalRefusal::Csr(_) => (StatusCode::BAD_REQUEST, "key-not-proven"),
            RenewalRefusal::KeyNotFresh => (StatusCode::CONFLICT, "key-not-fresh"),
            RenewalRefusal::Busy { .. } => (StatusCode::TOO_MANY_REQUESTS, "busy"),
            RenewalRefusal::OtherKey | RenewalRefusal::EnrolledUnreadable => {
                (StatusCode::BAD_GATEWAY, "host-internal")
            }
        };
        let extensions = match &refusal {
            RenewalRefusal::Busy { retry_after_ms } => {
                vec![("retry_after_ms", json!(retry_after_ms))]
            }
            _ => Vec::new(),
        };
        Self {
            status,
            name,
            detail: refusal.to_string(),
            extensions,
        }
    }
}

impl From<CardRefusal> for Problem {
    /// A refusal by the verifier is passed on as it is: it is meant for the guest.
    fn from(refusal: CardRefusal) -> Self {
        let away = StatusCode::SERVICE_UNAVAILABLE;
        match refusal {
            CardRefusal::VerifierRefused { status, problem } => Self {
                status: StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY),
                name: "verifier-refused",
                detail: "the verifier refused; `verifier` holds its problem document".into(),
                extensions: vec![(
                    "verifier",
                    serde_json::from_str(&problem).unwrap_or(Value::Null),
                )],
            },
            refusal @ CardRefusal::VerifierAway(_) => {
                Self::new(away, "verifier-away", refusal.to_string())
            }
            refusal @ CardRefusal::VaultAway(_) => {
                Self::new(away, "vault-away", refusal.to_string())
            }
            refusal @ CardRefusal::BootUnderWay => {
                Self::new(away, "host-booting", refusal.to_string())
            }
            refusal @ CardRefusal::Busy(_) => Self::new(away, "card-busy", refusal.to_string()),
            refusal @ CardRefusal::NotEnrolled => {
                Self::new(away, "host-not-enrolled", refusal.to_string())
            }
            refusal @ (CardRefusal::VaultRefused(_)
            | CardRefusal::State(_)
            | CardRefusal::StateOrder { .. }
            | CardRefusal::NotCertified
            | CardRefusal::OperatorRevoked(_)
            | CardRefusal::RevocationsUnknown(_)
            | CardRefusal::VerifierUnclear(_)
            | CardRefusal::LinkUnusable(_)) => Self::host(refusal.to_string()),
        }
    }
}

impl From<LinkError> for Problem {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Card(refusal) => refusal.into(),
            error => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "host-unavailable",
                error.to_string(),
            ),
        }
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), "malformed", rejection.body_text())
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        Self::new(rejection.status(), "malformed", rejection.body_text())
    }
}
