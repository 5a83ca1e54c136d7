//! One field that rules look at.

use std::collections::HashSet;

use super::constraint::Constraint;
use super::field::{Extent, Field, Value};
use super::map::{Found, Map};
use super::set::{Bits, Budget, Class, OverBudget, Place, Set, Sets};
use crate::request::MAX_NAMES;

/// A field, and of its values which rules they satisfy.
#[derive(Debug)]
pub(crate) struct Dimension {
    pub(crate) field: Field,
    map: Map,
    sets: Box<[Set]>,
    /// The rules that do not look at it.
    every: Bits,
    /// Those that look at it and deny: they match what is not known.
    unknown: Class,
}

/// A dimension with what it has of a request's value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Looked<'d> {
    /// The rules that do not look at it.
    pub(crate) every: &'d Bits,
    satisfied: Satisfied<'d>,
}

/// The rules that look at it, and that the value satisfies.
#[derive(Clone, Copy, Debug)]
enum Satisfied<'d> {
    None,
    One(&'d Set),
    Several(&'d Names<'d>),
}

/// Of each name of a flow's other end which rules it satisfies.
pub(crate) type Names<'d> = [Option<&'d Set>; MAX_NAMES];

impl Dimension {
    /// `denies`: of each place whether its rule denies.
    pub(crate) fn new(
        field: Field,
        asked: &[(Constraint<'_>, Place)],
        denies: &[bool],
        budget: &mut Budget,
    ) -> Result<Self, OverBudget> {
        let rules = denies.len();
        let mut sets = Sets::new(rules, budget);
        let map = Map::new(asked, &mut sets)?;
        let deny = asked.iter().map(|(_, place)| *place);
        let deny = deny.filter(|place| denies.get(*place as usize) == Some(&true));
        let unknown = sets.class(deny.collect())?;
        let looking: HashSet<Place> = asked.iter().map(|(_, place)| *place).collect();
        let all = 0..Place::try_from(rules).unwrap_or(Place::MAX);
        let every = Bits::of(all.filter(|place| !looking.contains(place)), rules);
        Ok(Self {
            field,
            map,
            sets: sets.finish(),
            every,
            unknown,
        })
    }

    /// `names`: those of a request, by [`Dimension::names`] of the one dimension that has them.
    pub(crate) fn look<'d>(&'d self, value: Value<'_>, names: &'d Names<'d>) -> Looked<'d> {
        let set = |class| self.set(class).map_or(Satisfied::None, Satisfied::One);
        let satisfied = match value {
            Value::Names(names) if names.len() > MAX_NAMES => set(self.unknown),
            Value::Names(_) => Satisfied::Several(names),
            value => match self.map.find(value) {
                Found::Nothing => Satisfied::None,
                Found::One(class) => set(class),
                Found::Unknown => set(self.unknown),
            },
        };
        Looked {
            every: &self.every,
            satisfied,
        }
    }

    /// What it has of each name, of those that are looked at.
    pub(crate) fn names(&self, names: &[&str]) -> Names<'_> {
        let mut found = [None; MAX_NAMES];
        for (found, name) in found.iter_mut().zip(names) {
            *found = self.map.name(name).and_then(|class| self.set(class));
        }
        found
    }

    /// The class of a name that some rule is about.
    pub(crate) fn name(&self, name: &str) -> Option<Class> {
        let class = self.map.name(name)?;
        self.set(class)
            .is_some_and(|set| !set.is_empty())
            .then_some(class)
    }

    fn set(&self, class: Class) -> Option<&Set> {
        self.sets.get(class as usize)
    }

    /// How many sets it tells apart: the more, the fewer rules each has.
    pub(crate) fn classes(&self) -> usize {
        self.sets.len()
    }

    pub(crate) fn extent(&self, value: Value<'_>) -> Extent {
        self.map.extent(value)
    }
}

impl<'d> Looked<'d> {
    /// No dimension: nothing is asked.
    pub(crate) const fn nothing(all: &'d Bits) -> Self {
        Self {
            every: all,
            satisfied: Satisfied::None,
        }
    }

    pub(crate) fn word(&self, word: usize) -> u64 {
        self.union(self.every.word(word), |set| set.word(word))
    }

    pub(crate) fn summary(&self, at: usize) -> u64 {
        self.union(self.every.summary(at), |set| set.summary(at))
    }

    fn union(&self, every: u64, of: impl Fn(&Set) -> u64) -> u64 {
        match self.satisfied {
            Satisfied::None => every,
            Satisfied::One(set) => every | of(set),
            Satisfied::Several(names) => {
                let sets = names.iter().flatten();
                sets.fold(every, |bits, set| bits | of(set))
            }
        }
    }
}
