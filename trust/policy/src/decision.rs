//! What was decided, and why.

use crate::document::{Effect, Kind};

/// A decision on one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision<'p> {
    /// What becomes of it.
    pub effect: Effect,
    /// By what.
    pub by: Decided<'p>,
    /// The rule in mode `audit` that would have decided, and how.
    pub audited: Option<(RuleName<'p>, Effect)>,
}

/// What decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decided<'p> {
    /// A rule.
    Rule(RuleName<'p>),
    /// No rule matches: the default of the kind.
    Default(Kind),
    /// No policy selects the guest.
    NoPolicy,
}

/// Which rule.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RuleName<'p> {
    /// Its policy.
    pub policy: &'p str,
    /// Its name, of which a policy has one.
    pub rule: &'p str,
}
