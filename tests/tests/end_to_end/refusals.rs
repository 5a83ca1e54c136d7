//! What is refused, and as what: each case names its one problem type, and nothing is granted.

mod authenticity;
mod enrolment;
mod freshness;
mod regions;
mod revocations;
mod targets;
mod tls;
mod tokens;

use crate::Case;

/// The cases of every module, by what is wrong.
pub(crate) fn cases() -> Vec<Case> {
    [
        freshness::CASES,
        authenticity::CASES,
        regions::CASES,
        targets::CASES,
        enrolment::CASES,
        revocations::CASES,
        tls::CASES,
        tokens::CASES,
    ]
    .concat()
}
