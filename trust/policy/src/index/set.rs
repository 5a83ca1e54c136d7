//! Sets of rules, by their places in the order.

use std::collections::HashMap;

/// A rule's place in the order.
pub(crate) type Place = u32;

/// Above how many places a set is written as bits.
const FEW: usize = 24;

/// A set.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Set {
    /// Ascending.
    Few(Box<[Place]>),
    Many(Bits),
}

/// A set as bits, and of each word whether it has any.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) struct Bits {
    words: Box<[u64]>,
    summary: Box<[u64]>,
}

/// Bits of a word.
const WORD: u32 = u64::BITS;

impl Bits {
    pub(crate) fn of(places: impl IntoIterator<Item = Place>, rules: usize) -> Self {
        let mut bits = Self {
            words: vec![0; rules.div_ceil(64)].into(),
            summary: vec![0; rules.div_ceil(64 * 64)].into(),
        };
        for place in places {
            let word = place / WORD;
            set(&mut bits.words, word, place % WORD);
            set(&mut bits.summary, word / WORD, word % WORD);
        }
        bits
    }

    pub(crate) fn word(&self, word: usize) -> u64 {
        self.words.get(word).copied().unwrap_or(0)
    }

    pub(crate) fn summary(&self, at: usize) -> u64 {
        self.summary.get(at).copied().unwrap_or(0)
    }

    /// Words of the summary.
    pub(crate) fn summaries(&self) -> usize {
        self.summary.len()
    }

    pub(crate) fn has(&self, place: Place) -> bool {
        self.word((place / WORD) as usize) >> (place % WORD) & 1 == 1
    }

    fn bytes(&self) -> usize {
        8 * (self.words.len() + self.summary.len())
    }
}

fn set(words: &mut [u64], word: u32, bit: u32) {
    if let Some(word) = words.get_mut(word as usize) {
        *word |= 1 << bit;
    }
}

impl Set {
    /// `places`: ascending, each once.
    fn of(places: &[Place], rules: usize) -> Self {
        if places.len() <= FEW {
            Self::Few(places.into())
        } else {
            Self::Many(Bits::of(places.iter().copied(), rules))
        }
    }

    pub(crate) fn word(&self, word: usize) -> u64 {
        match self {
            Self::Many(bits) => bits.word(word),
            Self::Few(places) => {
                let within = places
                    .iter()
                    .filter(|place| (**place / WORD) as usize == word);
                within.fold(0, |bits, place| bits | 1 << (place % WORD))
            }
        }
    }

    pub(crate) fn summary(&self, at: usize) -> u64 {
        match self {
            Self::Many(bits) => bits.summary(at),
            Self::Few(places) => {
                let words = places.iter().map(|place| place / WORD);
                let within = words.filter(|word| (word / WORD) as usize == at);
                within.fold(0, |bits, word| bits | 1 << (word % WORD))
            }
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Few(places) => 4 * places.len(),
            Self::Many(bits) => bits.bytes(),
        }
    }
}

/// Which set of a dimension.
pub(crate) type Class = u32;

/// What an index may take: whoever writes policies may not have who compiles them run out of memory or time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Of memory, in bytes.
    pub(crate) bytes: usize,
    /// Of time, in places that are looked at.
    pub(crate) places: usize,
}

/// An index would take more than it may.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OverBudget;

impl Budget {
    /// Takes memory from it.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), OverBudget> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or(OverBudget)?;
        Ok(())
    }
}

/// The sets of a dimension, each kept once.
#[derive(Debug)]
pub(crate) struct Sets<'b> {
    sets: Vec<Set>,
    known: HashMap<Set, Class>,
    rules: usize,
    budget: &'b mut Budget,
}

impl<'b> Sets<'b> {
    /// Of so many rules.
    pub(crate) fn new(rules: usize, budget: &'b mut Budget) -> Self {
        Self {
            sets: Vec::new(),
            known: HashMap::new(),
            rules,
            budget,
        }
    }

    /// The class of a set of places, in any order.
    pub(crate) fn class(&mut self, mut places: Vec<Place>) -> Result<Class, OverBudget> {
        let looked_at = self.budget.places.checked_sub(places.len());
        self.budget.places = looked_at.ok_or(OverBudget)?;
        places.sort_unstable();
        places.dedup();
        let set = Set::of(&places, self.rules);
        if let Some(class) = self.known.get(&set) {
            return Ok(*class);
        }
        let class = Class::try_from(self.sets.len()).map_err(|_| OverBudget)?;
        self.budget.take(set.bytes())?;
        self.sets.push(set.clone());
        self.known.insert(set, class);
        Ok(class)
    }

    /// All of them, by class; and what the maps beside them take.
    pub(crate) fn finish(self, maps: usize) -> Result<Box<[Set]>, OverBudget> {
        self.budget.take(maps)?;
        Ok(self.sets.into())
    }
}
