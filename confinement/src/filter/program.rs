//! BPF programs of tables.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

use super::FilterError;
use crate::system_call::{SystemCall, When};

/// A condition's alternatives; in each of them, what must hold at once.
type Alternatives = Vec<Vec<(u8, SeccompCmpOp, u64)>>;

pub(super) fn allow(table: &[SystemCall]) -> Result<BpfProgram, FilterError> {
    compile(table, SeccompAction::Allow, SeccompAction::KillProcess)
}

pub(super) fn forbid(table: &[SystemCall]) -> Result<BpfProgram, FilterError> {
    compile(table, SeccompAction::KillProcess, SeccompAction::Allow)
}

pub(super) fn absent(table: &[SystemCall]) -> Result<BpfProgram, FilterError> {
    let absent = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    compile(table, absent, SeccompAction::Allow)
}

/// An error of 0 is none (seccomp(2), SECCOMP_RET_ERRNO).
pub(super) fn skip(table: &[SystemCall]) -> Result<BpfProgram, FilterError> {
    compile(table, SeccompAction::Errno(0), SeccompAction::Allow)
}

/// Ends the process at a number of the x32 ABI. That ABI has x86_64's own architecture code, so that a table of
/// forbidden numbers would not see it.
pub(super) fn native_numbers() -> BpfProgram {
    // Linux: arch/x86/include/uapi/asm/unistd.h, __X32_SYSCALL_BIT.
    const X32: u32 = 0x4000_0000;
    // bpf_common.h: BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JGE|BPF_K, BPF_RET|BPF_K.
    let (load, jump_if_at_least, give) = (0x20, 0x35, 0x06);
    let line = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        // seccomp_data.nr is first.
        line(load, 0, 0, 0),
        line(jump_if_at_least, 0, 1, X32),
        line(give, 0, 0, SeccompAction::KillProcess.into()),
        line(give, 0, 0, SeccompAction::Allow.into()),
    ]
}

fn compile(
    table: &[SystemCall],
    on_match: SeccompAction,
    otherwise: SeccompAction,
) -> Result<BpfProgram, FilterError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for line in table {
        let before = rules.get(&line.number).map(Vec::len);
        let new = rules_of(&line.when)?;
        // No rule is a match whatever the arguments: it does not go with any other line.
        if before.is_some_and(|before| before == 0 || new.is_empty()) {
            return Err(FilterError::Redundant(line.number));
        }
        rules.entry(line.number).or_default().extend(new);
    }
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(rules, otherwise, on_match, arch)?;
    Ok(BpfProgram::try_from(filter)?)
}

fn rules_of(when: &When) -> Result<Vec<SeccompRule>, FilterError> {
    let rule = |conditions: Vec<(u8, SeccompCmpOp, u64)>| {
        let condition = |(argument, operator, value)| {
            SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
        };
        let conditions = conditions.into_iter().map(condition);
        SeccompRule::new(conditions.collect::<Result<_, _>>()?)
    };
    let rules = alternatives(when).into_iter().map(rule);
    Ok(rules.collect::<Result<_, _>>()?)
}

fn alternatives(when: &When) -> Alternatives {
    let one = |argument: u8, operator, value: u32| vec![vec![(argument, operator, value.into())]];
    match when {
        When::Always => Vec::new(),
        When::Is(argument, value) => one(*argument, SeccompCmpOp::Eq, *value),
        When::IsNot(argument, value) => one(*argument, SeccompCmpOp::Ne, *value),
        When::Bits(argument, mask, value) => {
            one(*argument, SeccompCmpOp::MaskedEq((*mask).into()), *value)
        }
        When::Outside(argument, ranges) => outside(*argument, ranges),
    }
}

/// Below the first range, between two, or above the last: in ascending order, with none in another.
fn outside(argument: u8, ranges: &[std::ops::RangeInclusive<u32>]) -> Alternatives {
    let mut ranges: Vec<(u64, u64)> = ranges
        .iter()
        .map(|range| ((*range.start()).into(), (*range.end()).into()))
        .collect();
    ranges.sort_unstable();
    let mut gaps = Vec::new();
    let mut above: Option<u64> = None;
    for (first, last) in ranges {
        gaps.push((above, Some(first)));
        above = Some(above.map_or(last, |above| above.max(last)));
    }
    gaps.push((above, None));
    let conditions = |(above, below): (Option<u64>, Option<u64>)| {
        let above = above.map(|above| (argument, SeccompCmpOp::Gt, above));
        let below = below.map(|below| (argument, SeccompCmpOp::Lt, below));
        above.into_iter().chain(below).collect::<Vec<_>>()
    };
    // Without any range every value is outside: a rule without conditions, which is none.
    gaps.into_iter()
        .map(conditions)
        .filter(|conditions| !conditions.is_empty())
        .collect()
}
