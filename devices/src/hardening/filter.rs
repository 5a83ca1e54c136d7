//! The seccomp filters (seccomp(2)), compiled from the table in [`super::syscalls`].

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter_all_threads,
};

use super::syscalls::{ABSENT, ALLOWED, Syscall, When};

/// The filter could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// The table is wrong, or the processor is not supported.
    #[error("the seccomp filter could not be built: {0}")]
    Build(#[from] BackendError),
    /// The kernel refused.
    #[error("the seccomp filter could not be applied: {0}")]
    Apply(#[from] seccompiler::Error),
}

/// Applies the filters; sets `no_new_privs`.
pub(super) fn apply() -> Result<(), FilterError> {
    apply_filter_all_threads(&absent_list(ABSENT)?)?;
    apply_filter_all_threads(&allow_list(ALLOWED)?)?;
    Ok(())
}

/// Answers ENOSYS. Of two filters' verdicts the stricter holds, so that the other one may allow these.
fn absent_list(table: &[Syscall]) -> Result<BpfProgram, BackendError> {
    let absent = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let rules = table
        .iter()
        .map(|syscall| (syscall.number, Vec::new()))
        .collect();
    program(rules, SeccompAction::Allow, absent)
}

/// Ends the process at any call that is in neither table.
fn allow_list(table: &[Syscall]) -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for syscall in table.iter().chain(ABSENT) {
        let alternatives = rules.entry(syscall.number).or_default();
        if let Some(condition) = condition(syscall.when)? {
            alternatives.push(SeccompRule::new(vec![condition])?);
        }
    }
    program(rules, SeccompAction::KillProcess, SeccompAction::Allow)
}

fn condition(when: When) -> Result<Option<SeccompCondition>, BackendError> {
    let (argument, operator, value) = match when {
        When::Always => return Ok(None),
        When::ArgumentIs(argument, value) => (argument, SeccompCmpOp::Eq, value),
        When::ArgumentLacks(argument, bits) => (argument, SeccompCmpOp::MaskedEq(bits), 0),
        When::ArgumentHas(argument, bits) => (argument, SeccompCmpOp::MaskedEq(bits), bits),
    };
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value).map(Some)
}

fn program(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    on_match: SeccompAction,
) -> Result<BpfProgram, BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, otherwise, on_match, arch)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_compile() {
        allow_list(ALLOWED).unwrap();
        absent_list(ABSENT).unwrap();
    }

    #[test]
    fn an_unconditional_entry_has_no_conditional_twin() {
        for syscall in ALLOWED
            .iter()
            .filter(|syscall| matches!(syscall.when, When::Always))
        {
            let twins = ALLOWED
                .iter()
                .filter(|other| other.number == syscall.number)
                .count();
            assert_eq!(twins, 1, "{}", syscall.reason);
        }
    }
}
