//! From a number to the rules whose ranges it is in.

use std::collections::BTreeSet;

use super::set::{Class, OverBudget, Place, Sets};

/// The numbers from each start to the next have one class.
#[derive(Debug)]
pub(crate) struct Ranges {
    starts: Starts,
    classes: Box<[Class]>,
}

/// As narrow as they may be: most are ports, users, or addresses of IPv4, and whoever looks for one reads a good part of them.
#[derive(Debug)]
enum Starts {
    Narrow(Box<[u32]>),
    Wide(Box<[u128]>),
}

impl Starts {
    fn new(starts: Vec<u128>) -> Self {
        let narrow = starts.iter().map(|start| u32::try_from(*start));
        match narrow.collect::<Result<_, _>>() {
            Ok(narrow) => Self::Narrow(narrow),
            Err(_) => Self::Wide(starts.into()),
        }
    }

    fn at(&self, at: usize) -> Option<u128> {
        match self {
            Self::Narrow(starts) => starts.get(at).map(|start| u128::from(*start)),
            Self::Wide(starts) => starts.get(at).copied(),
        }
    }

    /// How many are not beyond a number.
    fn up_to(&self, number: u128) -> usize {
        match self {
            Self::Narrow(starts) => {
                // None begins beyond.
                let number = u32::try_from(number).unwrap_or(u32::MAX);
                starts.partition_point(|start| *start <= number)
            }
            Self::Wide(starts) => starts.partition_point(|start| *start <= number),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Narrow(starts) => size_of_val(starts.as_ref()),
            Self::Wide(starts) => size_of_val(starts.as_ref()),
        }
    }
}

impl Ranges {
    /// Of ranges, each from its first to its last number.
    pub(crate) fn new(
        ranges: &[(u128, u128, Place)],
        sets: &mut Sets<'_>,
    ) -> Result<Self, OverBudget> {
        // At each number where something begins or ends: first what ended before, then what begins.
        let mut edges: Vec<(u128, bool, Place)> = Vec::with_capacity(2 * ranges.len());
        for &(first, last, place) in ranges {
            edges.push((first, true, place));
            if let Some(after) = last.checked_add(1) {
                edges.push((after, false, place));
            }
        }
        edges.sort_unstable();
        // A rule may have ranges that overlap.
        let mut open = BTreeSet::new();
        let mut depth = std::collections::HashMap::<Place, u32>::new();
        let (mut starts, mut classes) = (vec![0], vec![sets.class(Vec::new())?]);
        let mut edges = edges.into_iter().peekable();
        while let Some((at, begins, place)) = edges.next() {
            let open_of = depth.entry(place).or_default();
            *open_of = if begins {
                *open_of + 1
            } else {
                open_of.saturating_sub(1)
            };
            if *open_of > 0 {
                open.insert(place);
            } else {
                open.remove(&place);
            }
            if edges.peek().is_some_and(|next| next.0 == at) {
                continue;
            }
            let class = sets.class(open.iter().copied().collect())?;
            if classes.last() == Some(&class) {
                continue;
            }
            if starts.last() == Some(&at) {
                starts.pop();
                classes.pop();
            }
            starts.push(at);
            classes.push(class);
        }
        let ranges = Self {
            starts: Starts::new(starts),
            classes: classes.into(),
        };
        sets.take(ranges.starts.bytes() + size_of_val(ranges.classes.as_ref()))?;
        Ok(ranges)
    }

    pub(crate) fn find(&self, number: u128) -> Option<Class> {
        let after = self.starts.up_to(number);
        self.classes.get(after.checked_sub(1)?).copied()
    }

    /// The numbers around one that have its class.
    pub(crate) fn around(&self, number: u128) -> (u128, u128) {
        let after = self.starts.up_to(number);
        let start = after.checked_sub(1).and_then(|at| self.starts.at(at));
        let next = self.starts.at(after);
        let last = next.map_or(u128::MAX, |next| next.saturating_sub(1));
        (start.unwrap_or(0), last)
    }
}
