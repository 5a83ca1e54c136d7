//! One field that rules look at.

use std::collections::HashSet;

use super::constraint::Constraint;
use super::field::{Extent, Field, Value};
use super::map::{Found, Map};
use super::set::{Bits, Budget, Class, OverBudget, Place, Set, Sets};

/// A field, and of its values which rules they satisfy.
#[derive(Debug)]
pub(crate) struct Dimension {
    pub(crate) field: Field,
    map: Map,
    sets: Box<[Set]>,
    /// The rules that do not look at it.
    pub(crate) every: Bits,
    /// Those that look at it and deny: they match what is not known.
    unknown: Class,
}

/// A dimension with the classes of a request's value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Looked<'d> {
    pub(crate) dimension: &'d Dimension,
    found: Found,
}

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
        let bytes = map.bytes();
        Ok(Self {
            field,
            map,
            sets: sets.finish(bytes)?,
            every,
            unknown,
        })
    }

    pub(crate) fn look(&self, value: Value<'_>) -> Looked<'_> {
        let found = match self.map.find(value) {
            Found::Unknown => Found::One(self.unknown),
            found => found,
        };
        Looked {
            dimension: self,
            found,
        }
    }

    pub(crate) fn extent(&self, value: Value<'_>) -> Extent {
        self.map.extent(value)
    }
}

impl Looked<'_> {
    pub(crate) fn word(&self, word: usize) -> u64 {
        self.union(self.dimension.every.word(word), |set| set.word(word))
    }

    pub(crate) fn summary(&self, at: usize) -> u64 {
        self.union(self.dimension.every.summary(at), |set| set.summary(at))
    }

    fn union(&self, every: u64, of: impl Fn(&Set) -> u64) -> u64 {
        let set = |class: Class| self.dimension.sets.get(class as usize).map_or(0, &of);
        match self.found {
            Found::Nothing | Found::Unknown => every,
            Found::One(class) => every | set(class),
            Found::Several(classes, count) => {
                let classes = classes.iter().take(count);
                classes.fold(every, |bits, class| bits | set(*class))
            }
        }
    }
}
