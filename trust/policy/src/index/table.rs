//! The rules of one kind.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::constraint::{self, Constraint};
use super::dimension::{Dimension, Looked, Names};
use super::field::{Depended, Field};
use super::set::{Bits, Budget, Class, OverBudget, Place};
use crate::document::{Effect, Mode, Rule};
use crate::request::{MAX_NAMES, Operation, Request};

/// Most fields that the rules of a kind look at: labels and arguments are many.
const MAX_DIMENSIONS: usize = 48;
/// As many as they mostly look at.
const USUAL_DIMENSIONS: usize = 8;

/// An index of rules.
#[derive(Debug)]
pub(crate) struct Table {
    /// Those first that leave the fewest rules.
    dimensions: Box<[Dimension]>,
    /// All of them.
    all: Bits,
    /// Those that decide.
    enforced: Bits,
}

/// There is no such index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoTable {
    /// The rules look at more fields than there may be.
    Fields,
    /// The rules list more values than they may.
    Values,
    /// It would take more than it may.
    OverBudget,
}

impl From<OverBudget> for NoTable {
    fn from(_: OverBudget) -> Self {
        Self::OverBudget
    }
}

/// The places of the rules that a request is decided by.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Outcome {
    /// Of all that match the first.
    pub(crate) first: Option<Place>,
    /// Of those that decide.
    pub(crate) decides: Option<Place>,
}

impl Table {
    /// Of rules in their order.
    pub(crate) fn new(rules: &[&Rule], budget: &mut Budget) -> Result<Self, NoTable> {
        let places = |rules: usize| 0..Place::try_from(rules).unwrap_or(Place::MAX);
        let denies: Vec<_> = rules
            .iter()
            .map(|rule| rule.effect == Effect::Deny)
            .collect();
        let mut asked = BTreeMap::<Field, Vec<(Constraint<'_>, Place)>>::new();
        for (place, rule) in places(rules.len()).zip(rules) {
            let values = budget.values.checked_sub(rule.values());
            budget.values = values.ok_or(NoTable::Values)?;
            let constraints = constraint::of(rule, MAX_DIMENSIONS).ok_or(NoTable::Fields)?;
            for (field, constraint) in constraints {
                asked.entry(field).or_default().push((constraint, place));
            }
        }
        if asked.len() > MAX_DIMENSIONS {
            return Err(NoTable::Fields);
        }
        let dimensions = asked.into_iter();
        let mut dimensions = dimensions
            .map(|(field, asked)| Dimension::new(field, &asked, &denies, budget))
            .collect::<Result<Vec<_>, _>>()?;
        dimensions.sort_by_key(|dimension| Reverse(dimension.classes()));
        let enforced = places(rules.len()).zip(rules);
        let enforced = enforced.filter(|(_, rule)| rule.mode == Mode::Enforce);
        Ok(Self {
            dimensions: dimensions.into(),
            all: Bits::of(places(rules.len()), rules.len()),
            enforced: Bits::of(enforced.map(|(place, _)| place), rules.len()),
        })
    }

    /// What a request is decided by. Allocates nothing.
    pub(crate) fn look(&self, request: &Request<'_>) -> Outcome {
        if self.dimensions.len() <= USUAL_DIMENSIONS {
            self.look_at::<USUAL_DIMENSIONS>(request)
        } else {
            self.look_at::<MAX_DIMENSIONS>(request)
        }
    }

    /// In room for so many dimensions.
    fn look_at<const MOST: usize>(&self, request: &Request<'_>) -> Outcome {
        let names = self.names(request);
        let mut looked = [Looked::nothing(&self.all); MOST];
        for (looked, dimension) in looked.iter_mut().zip(&self.dimensions) {
            *looked = dimension.look(dimension.field.of(request), &names);
        }
        let count = self.dimensions.len();
        self.first(looked.get(..count).unwrap_or(&looked))
    }

    /// Of a name of a flow's other end which rules are about it, if any is.
    pub(crate) fn name(&self, name: &str) -> Option<Class> {
        let mut dimensions = self.dimensions.iter();
        let dimension = dimensions.find(|dimension| dimension.field == Field::PeerNames)?;
        dimension.name(name)
    }

    /// What the one dimension has of a request's names that is about them.
    fn names(&self, request: &Request<'_>) -> Names<'_> {
        let names = match &request.operation {
            Operation::Network(flow) => flow.names,
            _ => &[],
        };
        let mut dimensions = self.dimensions.iter();
        // Mostly there are none, and nothing is looked for.
        let dimension = match names {
            [] => None,
            _ => dimensions.find(|dimension| dimension.field == Field::PeerNames),
        };
        dimension.map_or([None; MAX_NAMES], |dimension| dimension.names(names))
    }

    /// The fields that this outcome of a request depended on: whatever has the same in them has this outcome.
    pub(crate) fn depended(&self, request: &Request<'_>, outcome: Outcome) -> Vec<Depended> {
        let names = self.names(request);
        let dimensions = self.dimensions.iter();
        let (mut needed, mut looked): (Vec<_>, Vec<_>) = dimensions
            .map(|one| (one, one.look(one.field.of(request), &names)))
            .unzip();
        let mut at = 0;
        while let Some(one) = looked.get(at).copied() {
            let mut places = [outcome.first, outcome.decides].into_iter().flatten();
            let mut others = looked.clone();
            others.remove(at);
            // Without this field as many rules match or more: where the first of them do not look at it, they are the first whatever it is.
            if places.all(|place| one.every.has(place)) && self.first(&others) == outcome {
                looked = others;
                needed.remove(at);
            } else {
                at += 1;
            }
        }
        let depended = needed.iter().map(|one| Depended {
            field: one.field.clone(),
            extent: one.extent(one.field.of(request)),
        });
        depended.collect()
    }

    /// The first rules that all of these match.
    fn first(&self, looked: &[Looked<'_>]) -> Outcome {
        let mut outcome = Outcome::default();
        for at in 0..self.all.summaries() {
            let mut words = self.all.summary(at);
            for one in looked {
                words &= one.summary(at);
                if words == 0 {
                    break;
                }
            }
            while words != 0 {
                let word = at * 64 + words.trailing_zeros() as usize;
                words &= words - 1;
                let mut bits = self.all.word(word);
                for one in looked {
                    bits &= one.word(word);
                    if bits == 0 {
                        break;
                    }
                }
                let place = |bits: u64| match bits {
                    0 => None,
                    bits => Place::try_from(word * 64)
                        .ok()
                        .map(|base| base + bits.trailing_zeros()),
                };
                outcome.first = outcome.first.or_else(|| place(bits));
                outcome.decides = place(bits & self.enforced.word(word));
                if outcome.decides.is_some() {
                    return outcome;
                }
            }
        }
        outcome
    }
}
