//! From an error to an exit code.

use std::process::ExitCode;

use crate::hypervisor::HypervisorError;
use crate::verifier::VerifierError;

/// 69 where a needed service is away, else 1.
pub(crate) fn code(error: &anyhow::Error) -> ExitCode {
    let away = matches!(
        error.downcast_ref(),
        Some(VerifierError::Unreachable { .. })
    ) || matches!(error.downcast_ref(), Some(HypervisorError::Away { .. }));
    ExitCode::from(if away { 69 } else { 1 })
}
