//! From an error to words and an exit code.

use std::process::ExitCode;

use bartizan_guest::{AttestationError, EnrollError, HostApiError, Problem, RenewError};

const REFUSED: u8 = 1;
const UNAVAILABLE: u8 = 69;

/// 69 where trying again later can help, else 1.
pub(crate) fn code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(number(error))
}

/// What went wrong, with its causes; most messages name theirs already.
pub(crate) fn message(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// What the host said, where it is the host that refused.
pub(crate) fn problem(error: &anyhow::Error) -> Option<&Problem> {
    match host(error) {
        Some(HostApiError::Refused(problem)) => Some(problem),
        _ => None,
    }
}

fn host(error: &anyhow::Error) -> Option<&HostApiError> {
    error
        .downcast_ref::<AttestationError>()
        .and_then(|error| match error {
            AttestationError::Host(host) => Some(host),
            _ => None,
        })
        .or_else(|| match error.downcast_ref::<EnrollError>() {
            Some(EnrollError::Host(host)) => Some(host),
            _ => None,
        })
        .or_else(|| match error.downcast_ref::<RenewError>() {
            Some(RenewError::Host(host)) => Some(host),
            _ => None,
        })
}

fn number(error: &anyhow::Error) -> u8 {
    match host(error) {
        Some(HostApiError::Unreachable(_) | HostApiError::Http(_)) => UNAVAILABLE,
        Some(HostApiError::Refused(problem)) if problem.status >= 500 => UNAVAILABLE,
        _ => REFUSED,
    }
}
