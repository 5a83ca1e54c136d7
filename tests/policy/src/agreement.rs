//! What must hold of any policies and requests.

use std::fmt;

use bartizan_policy::{Compiled, Decision, Depended, FlowWidth, Guest, Operation, Policy, plain};

use crate::generated::{Facts, Owned};

/// Policies of a guest, compiled.
#[derive(Debug)]
pub struct Subject<'p> {
    policies: &'p [Policy],
    guest: &'p Guest,
    compiled: Compiled,
}

/// It does not hold.
#[derive(Debug)]
pub enum Disagreement {
    /// The policies do not compile.
    Refused(bartizan_policy::TooLarge),
    /// The compiled form decides otherwise than the plain one.
    Decisions {
        /// Of the compiled one.
        compiled: String,
        /// Of the plain one.
        plain: String,
    },
    /// It decides otherwise when it is asked for the fields, too.
    Widely {
        /// Without.
        decided: String,
        /// With.
        widely: String,
    },
    /// What has the same in these fields is decided otherwise.
    Fields {
        /// The fields.
        depended: Vec<Depended>,
        /// The other request.
        other: Box<Owned>,
        /// What is decided of this one.
        decided: String,
        /// What is decided of the other one.
        otherwise: String,
    },
    /// A flow within a decision's width is decided otherwise.
    Width {
        /// The width.
        width: FlowWidth,
        /// The other flow.
        other: Box<Owned>,
        /// What is decided of this one.
        decided: String,
        /// What is decided of the other one.
        otherwise: String,
    },
    /// A flow is not within its own width, or has no width.
    NoWidth(Option<FlowWidth>),
    /// What was mixed has not what it was to have: a fault of this crate.
    Mixed(Box<Owned>),
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => write!(f, "the policies do not compile: {error}"),
            Self::Decisions { compiled, plain } => {
                write!(f, "compiled: {compiled}\n   plain: {plain}")
            }
            Self::Widely { decided, widely } => {
                write!(f, "decided: {decided}\nwith the fields: {widely}")
            }
            Self::Fields {
                depended,
                other,
                decided,
                otherwise,
            } => write!(
                f,
                "depends on {depended:?}, in which this one has the same: {other:?}\n    decided: {decided}\nbut that one: {otherwise}"
            ),
            Self::Width {
                width,
                other,
                decided,
                otherwise,
            } => write!(
                f,
                "{width:?} contains {other:?}\n    decided: {decided}\nbut that one: {otherwise}"
            ),
            Self::NoWidth(width) => write!(f, "a flow has the width {width:?}"),
            Self::Mixed(mixed) => write!(f, "a slip of this program: it mixed {mixed:?}"),
        }
    }
}

impl<'p> Subject<'p> {
    /// Compiles them.
    pub fn new(policies: &'p [Policy], guest: &'p Guest) -> Result<Self, Disagreement> {
        Ok(Self {
            policies,
            guest,
            compiled: Compiled::of(policies, guest).map_err(Disagreement::Refused)?,
        })
    }

    /// That a request is decided by the compiled form as by the plain one, in all that a decision says; and so is what has nothing in common
    /// with it but the fields that the decision depended on, and otherwise what the other request has.
    pub fn agrees(
        &self,
        one: &Owned,
        other: &Owned,
        low: bool,
    ) -> Result<Decision<'_>, Disagreement> {
        let (decision, depended) = self.decide(one)?;
        let Some(mixed) = one.mixed(other, &depended, low) else {
            return Ok(decision);
        };
        if !one.is_same_in(&mixed, &depended) {
            return Err(Disagreement::Mixed(mixed.into()));
        }
        let (otherwise, _) = self.decide(&mixed)?;
        if otherwise != decision {
            return Err(Disagreement::Fields {
                depended,
                other: mixed.into(),
                decided: format!("{decision:?}"),
                otherwise: format!("{otherwise:?}"),
            });
        }
        Ok(decision)
    }

    /// The same of a flow, and of the width in which what is decided of it may be cached.
    pub fn agrees_on_flows(
        &self,
        facts: &Facts,
        one: &Owned,
        other: &Owned,
        low: bool,
    ) -> Result<Decision<'_>, Disagreement> {
        let (decision, depended) = self.decide(one)?;
        let width = one.with(|request| FlowWidth::of(request, &depended));
        let contains = |width: &FlowWidth, flow: &Owned| {
            flow.with(|request| match &request.operation {
                Operation::Network(flow) => width.contains(flow),
                _ => false,
            })
        };
        let Some(width) = width.filter(|width| contains(width, one)) else {
            return Err(Disagreement::NoWidth(width));
        };
        let within = facts.within(&width, one, other, low);
        // As it is, it may be within as well.
        for other in within.iter().chain([other]) {
            if !contains(&width, other) {
                continue;
            }
            let (otherwise, _) = self.decide(other)?;
            if otherwise != decision {
                return Err(Disagreement::Width {
                    width,
                    other: other.clone().into(),
                    decided: format!("{decision:?}"),
                    otherwise: format!("{otherwise:?}"),
                });
            }
        }
        Ok(decision)
    }

    fn decide(&self, one: &Owned) -> Result<(Decision<'_>, Vec<Depended>), Disagreement> {
        one.with(|request| {
            let plain = plain::decide(self.policies, self.guest, request);
            let decided = self.compiled.decide(request);
            if decided != plain {
                return Err(Disagreement::Decisions {
                    compiled: format!("{decided:?}"),
                    plain: format!("{plain:?}"),
                });
            }
            let (widely, depended) = self.compiled.decide_widely(request);
            if widely != decided {
                return Err(Disagreement::Widely {
                    decided: format!("{decided:?}"),
                    widely: format!("{widely:?}"),
                });
            }
            Ok((decided, depended))
        })
    }
}
