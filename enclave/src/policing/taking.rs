//! Whether a set is taken.

use std::error::Error;
use std::num::NonZeroU64;

use bartizan_policy::{AuthenticSet, Authors, PolicyRefusal, PolicySet, Seen, SetRefusal};
use bartizan_stream::message::{self, HeldSet, RefusalReason};

use crate::ruling::Ruling;
use crate::sealed::State;

/// A set that may rule.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) number: NonZeroU64,
    pub(super) authentic: AuthenticSet,
}

/// A set is not taken.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) reason: RefusalReason,
    pub(super) detail: String,
}

impl Refused {
    pub(super) fn failed(error: &dyn Error) -> Self {
        let detail = error.to_string();
        let reason = RefusalReason::Failed;
        Self { reason, detail }
    }

    pub(super) fn ahead(number: NonZeroU64) -> Self {
        let detail = format!("set {number} is numbered ahead of this machine's clock");
        let reason = RefusalReason::Failed;
        Self { reason, detail }
    }

    pub(super) fn lost(why: &str) -> Self {
        let detail = format!(
            "this enclave's state is lost ({why}); everything is denied until an administrator orders `bartizan enclave reset-state`"
        );
        let reason = RefusalReason::Failed;
        Self { reason, detail }
    }
}

impl Taken {
    /// A set that is newer than what is kept, authentic, and can be held; none where it is the one that rules.
    pub(super) fn of(
        offered: &message::PolicySet,
        state: &State,
        rules: Option<HeldSet>,
        authors: &Authors,
        ruling: &Ruling,
    ) -> Result<Option<Self>, Refused> {
        let number = offered.number();
        if let Some(kept) = state.set.as_ref().filter(|kept| number <= kept.number()) {
            // What is kept and does not rule was refused by the authors that are configured now, and is no better when it comes again.
            let is_kept = kept == offered;
            if is_kept && rules.is_some_and(|rules| rules.number == number) {
                return Ok(None);
            }
            if !is_kept {
                let kept = kept.number();
                return Err(Refused {
                    reason: RefusalReason::Rollback,
                    detail: format!("set {number} is not newer than {kept}, which was taken"),
                });
            }
        }
        let authentic = authenticate(offered, authors, &state.seen)?;
        let held = ruling.check_policies(authentic.policies());
        held.map_err(|error| Refused::failed(&error))?;
        Ok(Some(Self { number, authentic }))
    }
}

/// The set, each policy of which its author signed, and none of which is older than what was seen.
pub(super) fn authenticate(
    offered: &message::PolicySet,
    authors: &Authors,
    seen: &Seen,
) -> Result<AuthenticSet, Refused> {
    let set = PolicySet::new(offered.signed().iter().map(|signed| signed.to_vec()));
    set.authenticate(authors, seen).map_err(|error| Refused {
        reason: reason(&error),
        detail: error.to_string(),
    })
}

const fn reason(error: &SetRefusal) -> RefusalReason {
    match error {
        SetRefusal::Older { .. } | SetRefusal::SerialTwice { .. } => RefusalReason::Rollback,
        SetRefusal::Policy { source, .. } => match source {
            PolicyRefusal::UnknownAuthor(_)
            | PolicyRefusal::Signature { .. }
            | PolicyRefusal::OutsideScope { .. } => RefusalReason::Author,
            _ => RefusalReason::Malformed,
        },
        SetRefusal::TooLarge { .. } | SetRefusal::NameTwice(_) => RefusalReason::Malformed,
        SetRefusal::TooManyNames | SetRefusal::TooManyValues => RefusalReason::Failed,
    }
}
