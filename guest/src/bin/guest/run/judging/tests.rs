use std::cell::Cell;

use bartizan_attestation::appraisal::Status;
use bartizan_guest::{NotAffirmedError, Problem};

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

fn not_affirmed(findings: Vec<Finding>) -> AttestationError {
    let status = Status::Contraindicated;
    NotAffirmedError { status, findings }.into()
}

fn missing() -> Finding {
    Finding::MissingMapping {
        pid: 1,
        path: "/usr/lib/libc.so.6".into(),
        file_offset: 0,
    }
}

fn changed() -> Finding {
    Finding::PageDiffers {
        pid: 1,
        path: "/usr/sbin/nginx".into(),
        file_offset: 0,
        address: 0,
    }
}

fn refused(kind: &str) -> AttestationError {
    let problem = Problem {
        kind: format!("urn:bartizan:problem:{kind}"),
        status: 422,
        detail: String::new(),
        pid: None,
        verifier: None,
    };
    HostApiError::Refused(problem).into()
}

fn over_budget() -> AttestationError {
    let error = ResidencyError::OverBudget {
        pid: 1,
        mapped: 100 << 40,
        left: 512 << 20,
        most: 512 << 20,
    };
    error.into()
}

/// How often is asked when the first answers are these and all others good, and whether it is affirmed.
fn asked(answers: Vec<AttestationError>, patience: Duration) -> (u32, Result<(), JudgeError>) {
    let mut count = 0;
    let mut answers = answers.into_iter();
    let judged = judge(
        || Some(1),
        |_| {
            count += 1;
            answers.next().map_or(Ok(()), Err)
        },
        patience,
    );
    (count, judged)
}

#[test]
fn a_program_that_is_still_starting_is_asked_for_again() {
    let answers = vec![
        not_affirmed(vec![missing(), missing()]),
        refused("not-resident"),
        refused("unknown-process"),
    ];
    let (count, judged) = asked(answers, PATIENCE);
    assert!(judged.is_ok(), "{judged:?}");
    assert_eq!(count, 4);
}

#[test]
fn what_was_changed_is_refused_at_once() {
    for refusal in [
        not_affirmed(vec![changed()]),
        not_affirmed(vec![missing(), changed()]),
        not_affirmed(Vec::new()),
        refused("wrong-signer"),
        over_budget(),
    ] {
        let (count, judged) = asked(vec![refusal], PATIENCE);
        assert!(matches!(judged, Err(JudgeError::Attestation(_))));
        assert_eq!(count, 1);
    }
}

#[test]
fn patience_ends() {
    let answers = vec![not_affirmed(vec![missing()])];
    let (count, judged) = asked(answers, Duration::ZERO);
    assert!(matches!(judged, Err(JudgeError::Attestation(_))));
    assert_eq!(count, 1);
}

#[test]
fn a_program_that_becomes_a_daemon_is_found_again_or_is_no_more() {
    let looked = Cell::new(0);
    let subject = || {
        looked.set(looked.get() + 1);
        (looked.get() > 2).then_some(7)
    };
    let affirms_7 = |pid| {
        assert_eq!(pid, 7);
        Ok(())
    };
    judge(subject, affirms_7, PATIENCE).unwrap();
    let nobody = judge(|| None, affirms_7, Duration::ZERO);
    assert!(matches!(nobody, Err(JudgeError::NotRunning)));
}
