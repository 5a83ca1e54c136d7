//! A guest's RAM as it is looked at in one turn.
//!
//! Nearly all of what a turn looks at lies in one region or two: these are remembered, so that an address costs a comparison and no
//! search. Each access is held against its region's bounds as ever.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use vm_memory::{
    Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryError, GuestMemoryRegion, MmapRegion,
    VolatileMemory, VolatileSlice,
};

use super::written::{Memory, Written, WrittenPart};

/// Bytes of the RAM; what is written of them is noted.
type Slice<'m> = VolatileSlice<'m, WrittenPart<'m>>;
/// A region: its first address, and where it is mapped.
type Region<'m> = (u64, &'m MmapRegion<Written>);

/// The RAM.
pub struct View<'m> {
    ram: &'m Memory,
    last: Cell<Option<Region<'m>>>,
    before: Cell<Option<Region<'m>>>,
}

impl<'m> View<'m> {
    /// Of this RAM.
    #[must_use]
    pub const fn of(ram: &'m Memory) -> Self {
        Self {
            ram,
            last: Cell::new(None),
            before: Cell::new(None),
        }
    }

    /// Bytes that lie in one region; none where they do not.
    #[inline]
    #[must_use]
    pub fn slice(&self, at: GuestAddress, len: usize) -> Option<Slice<'m>> {
        match self.last.get().and_then(|last| part(last, at, len)) {
            Some(found) => Some(found),
            None => self.find(at, len),
        }
    }

    /// Copies bytes out of the RAM.
    #[inline]
    pub fn read(&self, at: GuestAddress, into: &mut [u8]) -> Result<(), GuestMemoryError> {
        match self.slice(at, into.len()) {
            Some(bytes) => {
                bytes.copy_to(into);
                Ok(())
            }
            None => self.ram.read_slice(into, at),
        }
    }

    /// Copies bytes out of the RAM, behind what is in `into`.
    #[inline]
    pub fn read_behind(
        &self,
        at: GuestAddress,
        len: usize,
        into: &mut Vec<u8>,
    ) -> Result<(), GuestMemoryError> {
        use vm_memory::WriteVolatile;
        match self.slice(at, len) {
            Some(bytes) => Ok(into.write_all_volatile(&bytes)?),
            None => self.ram.write_all_volatile_to(at, into, len),
        }
    }

    /// Copies bytes into the RAM.
    #[inline]
    pub fn write(&self, at: GuestAddress, from: &[u8]) -> Result<(), GuestMemoryError> {
        match self.slice(at, from.len()) {
            Some(bytes) => {
                bytes.copy_from(from);
                Ok(())
            }
            None => self.ram.write_slice(from, at),
        }
    }

    /// A number of the guest's that another thread of its writes, in its byte order.
    #[inline]
    pub(super) fn load(&self, at: GuestAddress, order: Ordering) -> Option<u16> {
        let number = self.slice(at, 2)?.load::<u16>(0, order).ok()?;
        Some(u16::from_le(number))
    }

    /// Writes one that it reads.
    #[inline]
    pub(super) fn store(&self, at: GuestAddress, number: u16, order: Ordering) -> Option<()> {
        self.slice(at, 2)?.store(number.to_le(), 0, order).ok()
    }

    fn find(&self, at: GuestAddress, len: usize) -> Option<Slice<'m>> {
        let before = self.before.get();
        let found = match before.and_then(|before| part(before, at, len)) {
            Some(found) => (before, found),
            None => {
                let region = self.ram.find_region(at)?;
                let region: Region<'_> = (region.start_addr().0, region);
                (Some(region), part(region, at, len)?)
            }
        };
        self.before.set(self.last.replace(found.0));
        Some(found.1)
    }
}

#[inline]
fn part((start, mapped): Region<'_>, at: GuestAddress, len: usize) -> Option<Slice<'_>> {
    let offset = usize::try_from(at.0.checked_sub(start)?).ok()?;
    mapped.get_slice(offset, len).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// As the RAM itself, whatever was looked at before: across regions that touch, and never outside of them.
        #[test]
        fn it_is_the_ram(accesses in prop::collection::vec((0..0x5000_u64, 1..0x1800_usize), 1..40)) {
            let regions = [(0, 0x1000), (0x1000, 0x800), (0x3000, 0x1000)];
            let regions = regions.map(|(start, size)| (GuestAddress(start), size));
            let ram = Memory::from_ranges(&regions).unwrap();
            for at in (0..0x5000_u64).filter(|at| ram.check_address(GuestAddress(*at)).is_some()) {
                ram.write_obj((at % 251) as u8, GuestAddress(at)).unwrap();
            }
            let view = View::of(&ram);
            for (at, len) in accesses {
                let at = GuestAddress(at);
                let (mut ours, mut theirs, mut behind) = (vec![0; len], vec![0; len], vec![7]);
                let is_there = ram.read_slice(&mut theirs, at).is_ok();
                prop_assert_eq!(view.read(at, &mut ours).is_ok(), is_there);
                prop_assert_eq!(view.read_behind(at, len, &mut behind).is_ok(), is_there);
                prop_assert_eq!(view.write(at, &theirs).is_ok(), is_there);
                if is_there {
                    prop_assert_eq!(&ours, &theirs);
                    prop_assert_eq!(&behind[1..], &theirs);
                }
                let slice = view.slice(at, len);
                prop_assert_eq!(slice.is_some(), ram.get_slice(at, len).is_ok());
                prop_assert!(slice.is_none_or(|slice| slice.len() == len));
            }
        }
    }
}
