//! The compressed names, found by the markers behind them, and what they expand to.

use super::tokens::Tokens;
use super::{KallsymsError, MAX_SYMBOLS};
use crate::little_endian::{u8_at, u32_at};

/// Every 256th name has a marker: its distance from the first.
const MARKED: usize = 256;

/// A list shorter than this has too few markers to be recognised by.
const MIN_SYMBOLS: usize = 2 * MARKED;

/// The longest name in bytes, kind included: KSYM_NAME_LEN is 512 since Linux 6.1.
const NAME_LIMIT: usize = 1024;

/// The longest that all names may be together, in bytes.
const NAMES_LIMIT: usize = 256 << 20;

/// How many names may be passed in the whole search. It bounds the time on hostile data; in distributions'
/// kernels little more than one walk over the names is needed.
const SEARCH_BUDGET: usize = 64 << 20;

/// The list of compressed names in a kernel's read-only data.
pub(super) struct List<'d> {
    names: Vec<&'d [u8]>,
    start: usize,
}

impl<'d> List<'d> {
    /// Finds the list that ends before `limit`, the start of the token table. What may stand between (the
    /// sequence numbers of Linux 6.2 and 6.3) does not matter.
    pub(super) fn find(data: &'d [u8], limit: usize) -> Option<Self> {
        let data = data.get(..limit)?;
        let mut budget = SEARCH_BUDGET;
        let mut start = limit & !3;
        while let Some(earlier) = start.checked_sub(4) {
            start = earlier;
            let count = usize::try_from(u32_at(data, start)?).ok()?;
            // A name takes 2 bytes at least, and 128 with all that belongs to it on average at most.
            let room = limit - start;
            if !(MIN_SYMBOLS..=MAX_SYMBOLS).contains(&count)
                || room < 2 * count
                || room > 128 * count
            {
                continue;
            }
            for alignment in [8, 4] {
                let first = (start + 4).next_multiple_of(alignment);
                if let Some(names) = walk(data, first, count, &mut budget) {
                    return Some(Self { names, start });
                }
            }
            if budget == 0 {
                return None;
            }
        }
        None
    }

    /// Where the list starts: at the number of symbols.
    pub(super) const fn start(&self) -> usize {
        self.start
    }

    /// The names in full.
    pub(super) fn expand(&self, tokens: &Tokens<'_>) -> Result<Expanded, KallsymsError> {
        let mut text = Vec::new();
        let mut ends = Vec::with_capacity(self.names.len());
        for (index, name) in self.names.iter().enumerate() {
            let start = text.len();
            for &code in *name {
                text.extend_from_slice(tokens.get(code));
                if text.len() - start > NAME_LIMIT {
                    return Err(KallsymsError::BadName { index });
                }
            }
            // The kind's letter, and a name.
            if text.len() < start + 2 || text.get(start).is_none_or(|kind| !kind.is_ascii()) {
                return Err(KallsymsError::BadName { index });
            }
            if text.len() > NAMES_LIMIT {
                return Err(KallsymsError::TooLarge);
            }
            ends.push(u32::try_from(text.len()).map_err(|_| KallsymsError::TooLarge)?);
        }
        Expanded::new(text, ends)
    }
}

/// The `count` names from `first` on, if the markers behind agree.
fn walk<'d>(
    data: &'d [u8],
    first: usize,
    count: usize,
    budget: &mut usize,
) -> Option<Vec<&'d [u8]>> {
    let mut names = Vec::new();
    let mut markers = Vec::new();
    let mut next = first;
    for index in 0..count {
        *budget = budget.checked_sub(1)?;
        if index % MARKED == 0 {
            markers.push(next - first);
        }
        let (length, behind) = length_at(data, next)?;
        next = behind.checked_add(length)?;
        names.push(data.get(behind..next).filter(|name| !name.is_empty())?);
    }
    [8, 4]
        .into_iter()
        .any(|alignment| {
            let table = next.next_multiple_of(alignment);
            (table..)
                .step_by(4)
                .zip(&markers)
                .all(|(at, &marker)| u32_at(data, at).is_some_and(|found| found as usize == marker))
        })
        .then_some(names)
}

/// The length at `at`, in ULEB128 of at most two bytes as the kernel reads it, and where the name starts.
fn length_at(data: &[u8], at: usize) -> Option<(usize, usize)> {
    let low = u8_at(data, at)?;
    if low & 0x80 == 0 {
        return Some((usize::from(low), at + 1));
    }
    let high = u8_at(data, at + 1)?;
    Some((usize::from(low & 0x7f) | usize::from(high) << 7, at + 2))
}

/// All names in one piece of text.
#[derive(Debug)]
pub(super) struct Expanded {
    /// Each name behind the letter of its kind.
    text: String,
    /// Where each ends.
    ends: Vec<u32>,
}

impl Expanded {
    fn new(text: Vec<u8>, ends: Vec<u32>) -> Result<Self, KallsymsError> {
        let text = String::from_utf8(text).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let index = ends.partition_point(|&end| end as usize <= valid);
            KallsymsError::BadName { index }
        })?;
        let names = Self { text, ends };
        // The text may be UTF-8 as a whole though a name ends within a character.
        match (0..names.len()).find(|&index| names.get(index).is_none()) {
            Some(index) => Err(KallsymsError::BadName { index }),
            None => Ok(names),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The kind and the name of the symbol `index`.
    pub(super) fn get(&self, index: usize) -> Option<(u8, &str)> {
        let end = *self.ends.get(index)? as usize;
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)? as usize,
            None => 0,
        };
        let kind = u8_at(self.text.as_bytes(), start)?;
        Some((kind, self.text.get(start + 1..end)?))
    }

    /// The indices of all names, sorted by these.
    pub(super) fn sorted(&self) -> Vec<u32> {
        let mut indices: Vec<u32> = (0u32..).take(self.len()).collect();
        indices.sort_by_key(|&index| self.name(index));
        indices
    }

    /// The indices of the symbols that are called `name`.
    pub(super) fn find(&self, sorted: &[u32], name: &str) -> impl Iterator<Item = usize> {
        let first = sorted.partition_point(|&index| self.name(index) < name);
        sorted
            .iter()
            .skip(first)
            .take_while(move |&&index| self.name(index) == name)
            .map(|&index| index as usize)
    }

    fn name(&self, index: u32) -> &str {
        self.get(index as usize).map_or("", |(_, name)| name)
    }
}
