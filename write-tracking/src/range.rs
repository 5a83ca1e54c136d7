//! Ranges of whole pages, by what they are ranges of, so that one kind cannot be passed for the other.

use std::fmt;

/// Size of a page in bytes: writes are told by the page.
pub const PAGE_SIZE: u64 = 4096;

/// A range of the RAM file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileRange {
    start: u64,
    size: u64,
}

/// A range of the address space of the process that maps the file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    start: u64,
    size: u64,
}

macro_rules! range {
    ($name:ident, $start:ident) => {
        impl $name {
            /// `size` bytes from `start` on; `None` unless both are multiples of [`PAGE_SIZE`], `size` is not 0, and the end
            /// fits 64 bits.
            #[must_use]
            pub const fn new(start: u64, size: u64) -> Option<Self> {
                let whole = start % PAGE_SIZE == 0 && size % PAGE_SIZE == 0 && size != 0;
                if whole && start.checked_add(size).is_some() {
                    Some(Self { start, size })
                } else {
                    None
                }
            }

            /// From `start` to before `end`, likewise.
            pub(crate) const fn between(start: u64, end: u64) -> Option<Self> {
                match end.checked_sub(start) {
                    Some(size) => Self::new(start, size),
                    None => None,
                }
            }

            /// Where it begins, in bytes.
            #[must_use]
            pub const fn $start(self) -> u64 {
                self.start
            }

            /// Its size in bytes.
            #[must_use]
            pub const fn size(self) -> u64 {
                self.size
            }

            /// Where it has ended, in bytes.
            #[must_use]
            pub const fn end(self) -> u64 {
                // INVARIANT: it does not wrap, by `new`.
                self.start.wrapping_add(self.size)
            }

            /// How many pages it has.
            #[must_use]
            pub const fn pages(self) -> u64 {
                self.size / PAGE_SIZE
            }

            /// What both have; `None` where that is nothing.
            pub(crate) fn common(self, other: Self) -> Option<Self> {
                Self::between(self.start.max(other.start), self.end().min(other.end()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}-{:#x}", self.start, self.end())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

range!(FileRange, offset);
range!(AddressRange, start);

impl AddressRange {
    /// The same in pieces that end where a multiple of `size` is, which is one of [`PAGE_SIZE`].
    pub(crate) fn slices(self, size: u64) -> impl Iterator<Item = Self> {
        let mut from = self.start;
        std::iter::from_fn(move || {
            let border = (from / size).saturating_add(1).saturating_mul(size);
            let slice = Self::between(from, border.min(self.end()))?;
            from = slice.end();
            Some(slice)
        })
    }
}

/// In order, and those that overlap or adjoin as one.
pub(crate) fn merged(ranges: &[FileRange]) -> Vec<FileRange> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut merged: Vec<FileRange> = Vec::new();
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.start <= last.end() => {
                last.size = last.end().max(range.end()) - last.start;
            }
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_pages_that_do_not_wrap_are_a_range() {
        assert!(FileRange::new(0, PAGE_SIZE).is_some());
        for (start, size) in [
            (0, 0),
            (1, 4096),
            (4096, 4095),
            (!0xfff, 4096),
            (4096, !0xfff),
        ] {
            assert_eq!(FileRange::new(start, size), None, "{start:#x} {size:#x}");
        }
        assert_eq!(AddressRange::between(8192, 4096), None);
    }

    #[test]
    fn what_two_have_in_common() {
        let range = |first: u64, pages: u64| AddressRange::new(first * 4096, pages * 4096).unwrap();
        assert_eq!(range(1, 4).common(range(3, 9)), Some(range(3, 2)));
        assert_eq!(range(1, 2).common(range(3, 9)), None);
        assert_eq!(range(1, 4).common(range(2, 3)), Some(range(2, 3)));
    }

    #[test]
    fn slices_end_at_borders() {
        let range = |first: u64, pages: u64| AddressRange::new(first * 4096, pages * 4096).unwrap();
        let slices: Vec<_> = range(3, 10).slices(4 * 4096).collect();
        assert_eq!(
            slices,
            [range(3, 1), range(4, 4), range(8, 4), range(12, 1)]
        );
        let last = AddressRange::new(u64::MAX - 0x2fff, 0x2000).unwrap();
        assert_eq!(last.slices(1 << 21).collect::<Vec<_>>(), [last]);
    }

    #[test]
    fn ranges_are_merged() {
        let range = |first: u64, pages: u64| FileRange::new(first * 4096, pages * 4096).unwrap();
        let several = [
            range(9, 1),
            range(0, 2),
            range(1, 3),
            range(4, 1),
            range(6, 1),
            range(1, 1),
        ];
        assert_eq!(merged(&several), [range(0, 5), range(6, 1), range(9, 1)]);
        assert_eq!(merged(&[]), []);
    }
}
