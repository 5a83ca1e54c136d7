//! The pages of some extents, each once, and numbered: two processes that share a page have one of it.

use bartizan_attestation::measurement::PAGE_SIZE;
use bartizan_guest_memory::Gpa;

use crate::extents::Extent;

/// Pages in the order of their addresses, numbered from some number on: its *slot*.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pages {
    /// Ascending, without overlap.
    runs: Vec<Run>,
    first: u64,
    count: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    extent: Extent,
    slot: u64,
}

/// A part of an extent, all of which is among the pages, from a slot on, or none of it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Part {
    pub(super) extent: Extent,
    pub(super) slot: Option<u64>,
}

impl Pages {
    /// Of extents of whole pages, the first of which has the slot `first`.
    pub(super) fn new(extents: &[Extent], first: u64) -> Self {
        let mut sorted = extents.to_vec();
        sorted.sort_unstable_by_key(|extent| extent.at);
        let mut pages = Self {
            runs: Vec::new(),
            first,
            count: 0,
        };
        for extent in sorted {
            pages.add(extent);
        }
        pages
    }

    /// One that begins no earlier than the last that was added.
    fn add(&mut self, extent: Extent) {
        let end = end(extent);
        let known = self.runs.last().map_or(0, |last| self::end(last.extent));
        let from = extent.at.0.max(known);
        let Some(size) = end.checked_sub(from).filter(|size| *size > 0) else {
            return;
        };
        match self.runs.last_mut() {
            Some(last) if known == from => last.extent.size += size,
            _ => self.runs.push(Run {
                extent: Extent {
                    at: Gpa(from),
                    size,
                },
                slot: self.first + self.count,
            }),
        }
        self.count += size / PAGE_SIZE;
    }

    /// How many there are.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// The slot after the last one's.
    pub(super) const fn end(&self) -> u64 {
        self.first + self.count
    }

    /// All of them: the fewest extents there can be, ascending, each with its first slot.
    pub(super) fn all(&self) -> impl Iterator<Item = (Extent, u64)> {
        self.runs.iter().map(|run| (run.extent, run.slot))
    }

    /// An extent in parts, in order.
    pub(super) fn parts(&self, of: Extent) -> impl Iterator<Item = Part> {
        let mut next = self.runs.partition_point(|run| end(run.extent) <= of.at.0);
        let mut at = of.at.0;
        std::iter::from_fn(move || {
            if at >= end(of) {
                return None;
            }
            let run = self.runs.get(next).filter(|run| run.extent.at.0 < end(of));
            let (until, slot) = match run {
                Some(run) if run.extent.at.0 <= at => {
                    next += 1;
                    let slot = run.slot + (at - run.extent.at.0) / PAGE_SIZE;
                    (end(run.extent).min(end(of)), Some(slot))
                }
                Some(run) => (run.extent.at.0, None),
                None => (end(of), None),
            };
            let part = Part {
                extent: Extent {
                    at: Gpa(at),
                    size: until - at,
                },
                slot,
            };
            at = until;
            Some(part)
        })
    }
}

/// Where an extent has ended. Those of RAM never wrap.
const fn end(extent: Extent) -> u64 {
    extent.at.0.saturating_add(extent.size)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const fn extent(first: u64, pages: u64) -> Extent {
        Extent {
            at: Gpa(first * PAGE_SIZE),
            size: pages * PAGE_SIZE,
        }
    }

    #[test]
    fn what_adjoins_or_overlaps_is_one() {
        let pages = Pages::new(&[extent(9, 1), extent(2, 2), extent(3, 3), extent(6, 1)], 5);
        let all: Vec<_> = pages.all().collect();
        assert_eq!(all, [(extent(2, 5), 5), (extent(9, 1), 10)]);
        assert_eq!((pages.count(), pages.end()), (6, 11));
    }

    fn extents() -> impl Strategy<Value = Vec<Extent>> {
        proptest::collection::vec((0_u64..40, 1_u64..6), 0..12).prop_map(|all| {
            all.into_iter()
                .map(|(first, pages)| extent(first, pages))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn each_page_has_one_slot(of in extents(), asked in (0_u64..48, 1_u64..12)) {
            let pages = Pages::new(&of, 100);
            let numbers = of.iter().flat_map(|extent| {
                let first = extent.at.0 / PAGE_SIZE;
                first..first + extent.size / PAGE_SIZE
            });
            let numbers: std::collections::BTreeSet<u64> = numbers.collect();
            let slots: BTreeMap<u64, u64> = numbers.into_iter().zip(100..).collect();
            prop_assert_eq!(pages.count(), slots.len() as u64);

            let asked = extent(asked.0, asked.1);
            let mut page = asked.at.0 / PAGE_SIZE;
            for part in pages.parts(asked) {
                prop_assert_eq!(part.extent.at.0, page * PAGE_SIZE);
                prop_assert!(part.extent.size > 0);
                for index in 0..part.extent.size / PAGE_SIZE {
                    let slot = part.slot.map(|first| first + index);
                    prop_assert_eq!(slot, slots.get(&page).copied());
                    page += 1;
                }
            }
            prop_assert_eq!(page * PAGE_SIZE, end(asked));
        }
    }
}
