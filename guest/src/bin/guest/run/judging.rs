//! Having a program judged that has only just been started.

use std::thread;
use std::time::{Duration, Instant};

use bartizan_attestation::appraisal::Finding;
use bartizan_guest::{
    Application, AttestationError, Enrollment, HostApi, HostApiError, ResidencyError,
    request_memory_attestation, verify_attestation_token,
};

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);
/// The host's refusals of a process that has not mapped all, changes its mappings, or has ended for another to go on.
const STARTING: [&str; 5] = [
    "urn:bartizan:problem:not-resident",
    "urn:bartizan:problem:inconsistent-memory",
    "urn:bartizan:problem:unknown-process",
    "urn:bartizan:problem:no-address-space",
    "urn:bartizan:problem:unmapped",
];

/// The program is not affirmed.
#[derive(Debug, thiserror::Error)]
pub(super) enum JudgeError {
    /// There is no process to measure.
    #[error("no process of the program runs")]
    NotRunning,
    /// It lasted too long, by what the program did or the host did not.
    #[error("there was no verdict within {} s; see `--patience` and `--timeout`", .0.as_secs())]
    TooLate(Duration),
    /// It was not affirmed.
    #[error(transparent)]
    Attestation(#[from] AttestationError),
}

/// Asks for the process that `subject` finds until it is affirmed, or refused for another reason than that it is still
/// starting, or until the patience is over.
pub(super) fn judge(
    subject: impl Fn() -> Option<u32>,
    mut ask: impl FnMut(u32) -> Result<(), AttestationError>,
    patience: Duration,
) -> Result<(), JudgeError> {
    let deadline = Instant::now() + patience;
    loop {
        let refusal = match subject() {
            None => JudgeError::NotRunning,
            Some(pid) => match ask(pid) {
                Ok(()) => return Ok(()),
                Err(error) if is_starting(&error) => error.into(),
                Err(error) => return Err(error.into()),
            },
        };
        if Instant::now() >= deadline {
            return Err(refusal);
        }
        thread::sleep(PAUSE);
    }
}

/// Asks once; only an affirmed process is `Ok`. Its pages are made present first.
pub(super) fn ask(
    host: &HostApi,
    enrollment: &Enrollment,
    application: &Application,
) -> Result<(), AttestationError> {
    let attested = request_memory_attestation(host, enrollment, application)?;
    verify_attestation_token(&attested, enrollment)?;
    Ok(())
}

/// Whether an intact program may be refused so while it starts.
fn is_starting(error: &AttestationError) -> bool {
    match error {
        AttestationError::NotAffirmed(refusal) => {
            let missing = |finding: &Finding| matches!(finding, Finding::MissingMapping { .. });
            !refusal.findings.is_empty() && refusal.findings.iter().all(missing)
        }
        AttestationError::Host(HostApiError::Refused(problem)) => {
            STARTING.contains(&problem.kind.as_str())
        }
        AttestationError::Residency(ResidencyError::OverBudget { .. }) => false,
        // The process ended while it was looked at.
        AttestationError::Residency(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
