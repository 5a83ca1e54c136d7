//! Where the RAM file is in the address space of the process that is tracked.

use crate::range::{AddressRange, FileRange};

/// A piece of the RAM file that is mapped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Mapped {
    address: AddressRange,
    file: FileRange,
}

impl Mapped {
    /// `size` bytes of the file from `file_offset` on, mapped at `address`; `None` unless these are whole pages, at least one, and
    /// neither range wraps.
    #[must_use]
    pub const fn new(address: u64, size: u64, file_offset: u64) -> Option<Self> {
        match (
            AddressRange::new(address, size),
            FileRange::new(file_offset, size),
        ) {
            (Some(address), Some(file)) => Some(Self { address, file }),
            _ => None,
        }
    }

    /// Where it is mapped.
    #[must_use]
    pub const fn address(&self) -> AddressRange {
        self.address
    }

    /// What is mapped there.
    #[must_use]
    pub const fn file(&self) -> FileRange {
        self.file
    }

    /// That part of it which is of `range`, if any.
    pub(crate) fn part(&self, range: FileRange) -> Option<Self> {
        let file = self.file.common(range)?;
        let inside = file.offset() - self.file.offset();
        Self::new(self.address.start() + inside, file.size(), file.offset())
    }

    /// What of the file is mapped at `address`; `None` unless all of that is in this piece.
    pub(crate) fn file_range(&self, address: AddressRange) -> Option<FileRange> {
        if self.address.common(address) != Some(address) {
            return None;
        }
        let inside = address.start() - self.address.start();
        FileRange::new(self.file.offset() + inside, address.size())
    }
}

/// All mappings of the RAM file in one process, ascending by their place in the file. No byte of the file is mapped twice: what
/// is written through a second mapping, the first one's page tables do not tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mappings(Vec<Mapped>);

/// Mappings that contradict one another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OverlapError {
    /// Two mappings of the same bytes.
    #[error(
        "{0} of the RAM file is mapped twice; what is written through one mapping is not seen by the other"
    )]
    File(FileRange),
    /// Two mappings at the same address.
    #[error("two mappings of the RAM file are said to be at {0}")]
    Address(AddressRange),
}

impl Mappings {
    /// In any order.
    ///
    /// # Errors
    ///
    /// Two of them overlap.
    pub fn new(mut mapped: Vec<Mapped>) -> Result<Self, OverlapError> {
        mapped.sort_unstable_by_key(|piece| piece.address);
        if let Some(twice) = first_common(&mapped, |a, b| a.address.common(b.address)) {
            return Err(OverlapError::Address(twice));
        }
        mapped.sort_unstable_by_key(|piece| piece.file);
        match first_common(&mapped, |a, b| a.file.common(b.file)) {
            Some(twice) => Err(OverlapError::File(twice)),
            None => Ok(Self(mapped)),
        }
    }

    /// Each of them.
    #[must_use]
    pub fn as_slice(&self) -> &[Mapped] {
        &self.0
    }

    /// The pieces that make up `range`, in order; `None` where any of it is not mapped.
    pub(crate) fn pieces(&self, range: FileRange) -> Option<Vec<Mapped>> {
        let pieces: Vec<Mapped> = self.0.iter().filter_map(|all| all.part(range)).collect();
        // They do not overlap.
        let size: u64 = pieces.iter().map(|piece| piece.file.size()).sum();
        (size == range.size()).then_some(pieces)
    }

    /// Of each mapping that has any of `pieces`, from the first of them to the end of the last.
    pub(crate) fn spans(&self, pieces: &[Mapped]) -> Vec<AddressRange> {
        let of_mapping = |all: &Mapped| {
            let mut of_it = pieces
                .iter()
                .map(Mapped::address)
                .filter(|piece| all.address.common(*piece).is_some());
            let first = of_it.next()?;
            let (start, end) = of_it.fold((first.start(), first.end()), |(start, end), piece| {
                (start.min(piece.start()), end.max(piece.end()))
            });
            AddressRange::between(start, end)
        };
        self.0.iter().filter_map(of_mapping).collect()
    }
}

/// What two neighbours have in common, where any do: in an order by their starts, some neighbours overlap if any two do.
fn first_common<T>(mapped: &[Mapped], common: impl Fn(&Mapped, &Mapped) -> Option<T>) -> Option<T> {
    mapped.windows(2).find_map(|pair| match pair {
        [one, next] => common(one, next),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(address: u64, pages: u64, file_page: u64) -> Mapped {
        Mapped::new(address * 4096, pages * 4096, file_page * 4096).unwrap()
    }

    fn range(first: u64, pages: u64) -> FileRange {
        FileRange::new(first * 4096, pages * 4096).unwrap()
    }

    #[test]
    fn a_range_is_split_at_the_borders_of_mappings() {
        let mappings = Mappings::new(vec![mapped(50, 4, 4), mapped(90, 4, 0)]).unwrap();
        assert_eq!(
            mappings.pieces(range(2, 4)),
            Some(vec![mapped(92, 2, 2), mapped(50, 2, 4)])
        );
        assert_eq!(mappings.pieces(range(2, 6)).map(|all| all.len()), Some(2));
        assert_eq!(mappings.pieces(range(2, 7)), None);
        assert_eq!(mappings.pieces(range(20, 1)), None);
    }

    #[test]
    fn a_span_is_from_the_first_piece_of_a_mapping_to_its_last() {
        let mappings = Mappings::new(vec![mapped(50, 8, 4), mapped(90, 4, 0)]).unwrap();
        let pieces = [mapped(57, 1, 11), mapped(51, 2, 5), mapped(91, 1, 1)];
        let at = |first: u64, pages: u64| AddressRange::new(first * 4096, pages * 4096).unwrap();
        assert_eq!(mappings.spans(&pieces), [at(91, 1), at(51, 7)]);
        assert_eq!(mappings.spans(&[]), []);
    }

    #[test]
    fn an_address_leads_back_into_the_file() {
        let piece = mapped(50, 4, 8);
        let at = |first: u64, pages: u64| AddressRange::new(first * 4096, pages * 4096).unwrap();
        assert_eq!(piece.file_range(at(51, 2)), Some(range(9, 2)));
        assert_eq!(piece.file_range(at(49, 2)), None);
        assert_eq!(piece.file_range(at(53, 2)), None);
    }

    #[test]
    fn nothing_is_mapped_twice() {
        let twice = Mappings::new(vec![mapped(50, 4, 0), mapped(90, 4, 3)]);
        assert_eq!(twice, Err(OverlapError::File(range(3, 1))));
        let same = Mappings::new(vec![mapped(50, 4, 0), mapped(52, 4, 9)]);
        assert!(matches!(same, Err(OverlapError::Address(_))));
        // The one that is overlapped is not the first one's neighbour by its end.
        let wide = Mappings::new(vec![mapped(10, 1, 1), mapped(20, 9, 0), mapped(50, 1, 5)]);
        assert!(matches!(wide, Err(OverlapError::File(_))));
    }
}
