//! The rules of one kind.

use std::collections::BTreeMap;

use super::constraint::{self, Constraint};
use super::dimension::{Dimension, Looked};
use super::field::{Depended, Field};
use super::set::{Bits, Budget, OverBudget, Place};
use crate::document::{Effect, Mode, Rule};
use crate::request::Request;

/// Most fields that the rules of a kind look at: labels and arguments are many.
const MAX_DIMENSIONS: usize = 48;

/// An index of rules.
#[derive(Debug)]
pub(crate) struct Table {
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
            for (field, constraint) in constraint::of(rule) {
                asked.entry(field).or_default().push((constraint, place));
            }
        }
        if asked.len() > MAX_DIMENSIONS {
            return Err(NoTable::Fields);
        }
        let dimensions = asked.into_iter();
        let dimensions = dimensions
            .map(|(field, asked)| Dimension::new(field, &asked, &denies, budget))
            .collect::<Result<_, _>>()?;
        let enforced = places(rules.len()).zip(rules);
        let enforced = enforced.filter(|(_, rule)| rule.mode == Mode::Enforce);
        Ok(Self {
            dimensions,
            all: Bits::of(places(rules.len()), rules.len()),
            enforced: Bits::of(enforced.map(|(place, _)| place), rules.len()),
        })
    }

    /// What a request is decided by.
    pub(crate) fn look(&self, request: &Request<'_>) -> Outcome {
        let mut looked = [None; MAX_DIMENSIONS];
        for (looked, dimension) in looked.iter_mut().zip(&self.dimensions) {
            *looked = Some(dimension.look(dimension.field.of(request)));
        }
        self.first(&looked.iter().flatten().take(self.dimensions.len()))
    }

    /// The fields that this outcome of a request depended on: whatever has the same in them has this outcome.
    pub(crate) fn depended(&self, request: &Request<'_>, outcome: Outcome) -> Vec<Depended> {
        let dimensions = self.dimensions.iter();
        let mut needed: Vec<_> = dimensions
            .map(|one| one.look(one.field.of(request)))
            .collect();
        let mut at = 0;
        while let Some(one) = needed.get(at) {
            let every = &one.dimension.every;
            let mut places = [outcome.first, outcome.decides].into_iter().flatten();
            let others = needed.iter().enumerate().filter(|(other, _)| *other != at);
            // Without this field as many rules match or more: where the first of them do not look at it, they are the first whatever it is.
            if places.all(|place| every.has(place))
                && self.first(&others.map(|(_, one)| one)) == outcome
            {
                needed.remove(at);
            } else {
                at += 1;
            }
        }
        let depended = needed.iter().map(|one| Depended {
            field: one.dimension.field.clone(),
            extent: one.dimension.extent(one.dimension.field.of(request)),
        });
        depended.collect()
    }

    /// The first rules that all of these match.
    fn first<'l, 'd: 'l>(
        &self,
        looked: &(impl Iterator<Item = &'l Looked<'d>> + Clone),
    ) -> Outcome {
        let mut outcome = Outcome::default();
        for at in 0..self.all.summaries() {
            let all = self.all.summary(at);
            let mut words = looked.clone().fold(all, |words, one| match words {
                0 => 0,
                words => words & one.summary(at),
            });
            while words != 0 {
                let word = at * 64 + words.trailing_zeros() as usize;
                words &= words - 1;
                let all = self.all.word(word);
                let bits = looked.clone().fold(all, |bits, one| match bits {
                    0 => 0,
                    bits => bits & one.word(word),
                });
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
