//! What was decided, and why.

use crate::document::{Action, Effect, Kind};

/// A decision on one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision<'p> {
    /// What becomes of it.
    pub effect: Effect,
    /// What becomes of it while nobody can decide: never more than is allowed else.
    pub unavailable: Effect,
    /// What is done about it, where it is denied.
    pub violation: Option<Action>,
    /// By what.
    pub by: Decided<'p>,
    /// The rule in mode `audit` that would have decided, and how.
    pub audited: Option<(RuleName<'p>, Effect)>,
}

impl Decision<'_> {
    /// The decision where no policy selects the guest.
    pub(crate) const NO_POLICY: Self = Self {
        effect: Effect::Deny,
        unavailable: Effect::Deny,
        violation: Some(Action::Log),
        by: Decided::NoPolicy,
        audited: None,
    };
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

impl std::fmt::Display for Decided<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rule(rule) => rule.fmt(f),
            Self::Default(kind) => write!(f, "no rule matches: the default for {kind}"),
            Self::NoPolicy => f.write_str("no policy selects the guest"),
        }
    }
}

/// Which rule.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RuleName<'p> {
    /// Its policy.
    pub policy: &'p str,
    /// Its name, of which a policy has one.
    pub rule: &'p str,
}

impl std::fmt::Display for RuleName<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.policy, self.rule)
    }
}
