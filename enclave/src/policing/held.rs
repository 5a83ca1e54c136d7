//! What outlasts a connection to the verifier: the set that rules, what was seen of policies, the last command.

use std::num::NonZeroU64;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bartizan_attestation::boot::Sha384;
use bartizan_policy::{Authors, Origin, PolicySet, Seen, SetRefusal};
use bartizan_stream::message::{
    self, CommandOutcome, Detail, GuestPolicies, GuestPolicy, HeldSet, Hello, Source, Span, Up,
};

use super::RefusalReason;
use super::ahead::is_ahead;
use crate::ruling::Ruling;
use crate::run::now_s;

/// What this enclave holds.
#[derive(Debug)]
pub struct Held {
    source: Source,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The set that rules here.
    ruling: Option<(HeldSet, Vec<Origin>)>,
    /// The set of which the verifier was told last that it is in force.
    told: Option<HeldSet>,
    seen: Seen,
    command: Option<(NonZeroU64, CommandOutcome)>,
}

/// A set was not taken.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) reason: RefusalReason,
    pub(super) detail: String,
}

impl Held {
    /// Nothing; `source` was never anybody's before.
    #[must_use]
    pub fn new(source: [u8; 16]) -> Self {
        Self {
            source: Source(source),
            state: Mutex::default(),
        }
    }

    pub(super) fn hello(&self) -> Hello {
        let state = self.state();
        Hello {
            source: self.source,
            span: Span::empty(NonZeroU64::MIN),
            in_force: state.told,
            last_command: state.command.map_or(0, |(number, _)| number.get()),
        }
    }

    /// Puts a set in force, all of it or nothing.
    pub(super) fn take(
        &self,
        offered: &message::PolicySet,
        authors: &Authors,
        ruling: &Ruling,
    ) -> Result<(), Refused> {
        let mut state = self.state();
        let number = offered.number();
        let refused = |reason, detail: String| Refused { reason, detail };
        if is_ahead(number, now_s()) {
            let detail = format!("set {number} is numbered ahead of this machine's clock");
            return Err(refused(RefusalReason::Failed, detail));
        }
        let set = PolicySet::new(offered.signed().iter().map(|signed| signed.to_vec()));
        if let Some((held, _)) = &state.ruling {
            let same = held.number == number && held.digest == set.digest();
            if same {
                return Ok(());
            }
            if number <= held.number {
                let detail = format!(
                    "set {number} is not newer than {}, which rules",
                    held.number
                );
                return Err(refused(RefusalReason::Rollback, detail));
            }
        }
        let authentic = set.authenticate(authors, &state.seen).map_err(|error| {
            let reason = match &error {
                SetRefusal::Older { .. } | SetRefusal::SerialTwice { .. } => {
                    RefusalReason::Rollback
                }
                SetRefusal::Policy { source, .. } => match source {
                    bartizan_policy::PolicyRefusal::UnknownAuthor(_)
                    | bartizan_policy::PolicyRefusal::Signature { .. }
                    | bartizan_policy::PolicyRefusal::OutsideScope { .. } => RefusalReason::Author,
                    _ => RefusalReason::Malformed,
                },
                SetRefusal::TooLarge { .. } | SetRefusal::NameTwice(_) => RefusalReason::Malformed,
                SetRefusal::TooManyNames => RefusalReason::Failed,
            };
            refused(reason, error.to_string())
        })?;
        let taken = ruling.take_policies(number.get(), authentic.policies().to_vec());
        taken.map_err(|error| refused(RefusalReason::Failed, error.to_string()))?;
        let held = HeldSet {
            number,
            digest: *authentic.digest(),
        };
        state.seen = authentic.seen().clone();
        state.ruling = Some((held, authentic.origins().to_vec()));
        Ok(())
    }

    /// What the verifier is to be told of the set that rules, once devices judge by this one.
    pub(super) fn in_force_since(&self, confirmed: u64, ruling: &Ruling) -> Option<Up> {
        let mut state = self.state();
        let (set, origins) = state.ruling.as_ref()?;
        if confirmed < set.number.get() || state.told == Some(*set) {
            return None;
        }
        let set = *set;
        let decider = ruling.decider();
        let guests = decider.ruled().map(|(boot, places)| GuestPolicy {
            guest: message::Guest {
                vm: boot.vm,
                boot: boot.boot,
            },
            digest: digest(origins, &places),
        });
        // More guests than can be told of are in force all the same.
        let guests = guests.take(bartizan_stream::limits::MAX_GUESTS).collect();
        let guests = GuestPolicies::new(guests).unwrap_or_default();
        state.told = Some(set);
        Some(Up::PolicyInForce { set, guests })
    }

    /// Does a command, unless it was done already; what it came to.
    pub(super) fn command(&self, number: NonZeroU64, does: impl FnOnce() -> CommandOutcome) -> Up {
        let mut state = self.state();
        let failed = |why| (CommandOutcome::Failed, why);
        let (outcome, why) = match state.command {
            Some((last, outcome)) if number == last => (outcome, ""),
            // An older one was answered, or was never to be done by this machine.
            Some((last, _)) if number < last => failed("a later command was taken before"),
            // It would be the last one for ever.
            _ if is_ahead(number, now_s()) => {
                failed("it is numbered ahead of this machine's clock")
            }
            _ => {
                let outcome = does();
                state.command = Some((number, outcome));
                (outcome, "")
            }
        };
        Up::CommandDone {
            number,
            outcome,
            detail: Detail::cut(why),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// SHA-384 over those of the texts of a guest's policies, in the set's order.
fn digest(origins: &[Origin], places: &[usize]) -> [u8; 48] {
    let chosen = places.iter().filter_map(|place| origins.get(*place));
    let bytes: Vec<u8> = chosen.flat_map(|origin| origin.issue.digest).collect();
    Sha384::of(&bytes).0
}
