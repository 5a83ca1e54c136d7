//! From a number to the rules whose ranges it is in.

use std::collections::BTreeSet;

use super::set::{Class, OverBudget, Place, Sets};

/// The numbers from each start to the next have one class.
#[derive(Default, Debug)]
pub(crate) struct Ranges {
    starts: Box<[u128]>,
    classes: Box<[Class]>,
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
        Ok(Self {
            starts: starts.into(),
            classes: classes.into(),
        })
    }

    pub(crate) fn find(&self, number: u128) -> Option<Class> {
        let after = self.starts.partition_point(|start| *start <= number);
        self.classes.get(after.checked_sub(1)?).copied()
    }

    /// The numbers around one that have its class.
    pub(crate) fn around(&self, number: u128) -> (u128, u128) {
        let after = self.starts.partition_point(|start| *start <= number);
        let start = after.checked_sub(1).and_then(|at| self.starts.get(at));
        let next = self.starts.get(after);
        let last = next.map_or(u128::MAX, |next| next.saturating_sub(1));
        (start.copied().unwrap_or(0), last)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.starts.len() * (16 + 4)
    }
}
