//! Sets of rules, by their places in the order.

use std::hash::BuildHasher;

use super::words::HashMap;

/// A rule's place in the order.
pub(crate) type Place = u32;

/// Above how many words a set is written as bits.
const FEW: usize = 6;
/// Up to how many words it is anyhow: to find one takes longer than to have all.
const SHORT: usize = 4;

/// A set.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Set {
    /// The words that have any, ascending.
    Few(Box<[Word]>),
    Many(Bits),
}

/// A word of a set, and which.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Word {
    number: u32,
    bits: u64,
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
        let mut words: Vec<Word> = Vec::new();
        for place in places {
            let (number, bits) = (place / WORD, 1 << (place % WORD));
            match words.last_mut() {
                Some(last) if last.number == number => last.bits |= bits,
                _ => words.push(Word { number, bits }),
            }
        }
        if words.len() > FEW || rules.div_ceil(64) <= SHORT {
            Self::Many(Bits::of(places.iter().copied(), rules))
        } else {
            Self::Few(words.into())
        }
    }

    pub(crate) fn word(&self, word: usize) -> u64 {
        match self {
            Self::Many(bits) => bits.word(word),
            Self::Few(words) => {
                let found = words.iter().find(|one| one.number as usize == word);
                found.map_or(0, |found| found.bits)
            }
        }
    }

    pub(crate) fn summary(&self, at: usize) -> u64 {
        match self {
            Self::Many(bits) => bits.summary(at),
            Self::Few(words) => {
                let numbers = words.iter().map(|word| word.number);
                let within = numbers.filter(|word| (word / WORD) as usize == at);
                within.fold(0, |bits, word| bits | 1 << (word % WORD))
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Many(bits) => bits.summary.iter().all(|word| *word == 0),
            Self::Few(words) => words.is_empty(),
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Few(words) => size_of_val(words.as_ref()),
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
    /// Of what rules list: each value is held some times over while the index is made.
    pub(crate) values: usize,
}

/// An index would take more than it may.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OverBudget;

impl Budget {
    /// Takes time from it, all that is left where that is less.
    pub(crate) fn look(&mut self, places: usize) -> Result<(), OverBudget> {
        let left = self.places.checked_sub(places);
        self.places = left.unwrap_or(0);
        left.map(drop).ok_or(OverBudget)
    }

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
    /// By their hashes.
    known: HashMap<u64, Class>,
    rules: usize,
    budget: &'b mut Budget,
}

/// What a set takes in such a table, too.
const KNOWN: usize = 2 * size_of::<(u64, Class)>();

impl<'b> Sets<'b> {
    /// Of so many rules.
    pub(crate) fn new(rules: usize, budget: &'b mut Budget) -> Self {
        Self {
            sets: Vec::new(),
            known: HashMap::default(),
            rules,
            budget,
        }
    }

    /// The class of a set of places, in any order.
    pub(crate) fn class(&mut self, mut places: Vec<Place>) -> Result<Class, OverBudget> {
        self.budget.look(places.len())?;
        places.sort_unstable();
        places.dedup();
        let set = Set::of(&places, self.rules);
        let hash = self.known.hasher().hash_one(&set);
        let known = self.known.get(&hash).copied();
        if let Some(class) = known.filter(|class| self.sets.get(*class as usize) == Some(&set)) {
            return Ok(class);
        }
        // One that has another's hash is kept anew each time.
        let class = Class::try_from(self.sets.len()).map_err(|_| OverBudget)?;
        self.take(set.bytes() + KNOWN)?;
        self.sets.push(set);
        self.known.insert(hash, class);
        Ok(class)
    }

    /// Takes memory for what is beside them.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), OverBudget> {
        self.budget.take(bytes)
    }

    /// All of them, by class.
    pub(crate) fn finish(self) -> Box<[Set]> {
        self.sets.into()
    }
}
