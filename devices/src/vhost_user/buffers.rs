//! The bytes of a descriptor chain that the device writes (virtio 1.2 section 2.7).
//!
//! Known attack: a guest changes its descriptors between the look at how much they take and the writing. They are read once, and
//! what was read is what is counted and written to.

use vm_memory::GuestAddress;

use super::chain::Chain;
use super::pieces::{MAX_DESCRIPTORS, PiecesError};
use super::view::View;

/// Where bytes go, and how many.
type Buffer = (GuestAddress, usize);

/// What of a chain is not written yet.
pub struct Buffers<'v, 'm> {
    view: &'v View<'m>,
    head: u16,
    room: usize,
    now: Buffer,
    /// Nearly every chain has one alone, for which nothing is allocated.
    later: std::vec::IntoIter<Buffer>,
}

impl<'v, 'm> Buffers<'v, 'm> {
    /// All that a chain has.
    #[must_use]
    pub fn of(chain: Chain<'v, 'm>) -> Self {
        let (view, head) = (chain.view(), chain.head_index());
        let mut descriptors = chain.fuse().take(MAX_DESCRIPTORS);
        let mut next = || {
            let descriptor = descriptors.find(|descriptor| descriptor.is_write_only())?;
            Some((descriptor.addr(), descriptor.len() as usize))
        };
        let now = next().unwrap_or((GuestAddress(0), 0));
        let later: Vec<Buffer> = std::iter::from_fn(next).collect();
        Self {
            view,
            head,
            room: now.1 + later.iter().map(|(_, size)| size).sum::<usize>(),
            now,
            later: later.into_iter(),
        }
    }

    /// Where the chain begins.
    #[must_use]
    pub const fn head_index(&self) -> u16 {
        self.head
    }

    /// How many bytes these take.
    #[must_use]
    pub const fn room(&self) -> usize {
        self.room
    }

    /// Copies bytes into the next ones.
    #[inline]
    pub fn write(&mut self, mut from: &[u8]) -> Result<(), PiecesError> {
        while !from.is_empty() {
            let (at, size) = self.now;
            if size == 0 {
                let missing = from.len();
                self.now = self.later.next().ok_or(PiecesError::TooShort { missing })?;
                continue;
            }
            let (now, later) = from.split_at(size.min(from.len()));
            self.view.write(at, now)?;
            // A wrapped address is outside of RAM, and the access says so.
            let on = GuestAddress(at.0.wrapping_add(now.len() as u64));
            self.now = (on, size - now.len());
            self.room -= now.len();
            from = later;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use vm_memory::Bytes;

    use super::*;
    use crate::vhost_user::Memory;

    const WRITE: u16 = 2;

    fn describe(ram: &Memory, index: u64, (at, size): (u64, u32), flags: u16) {
        let next = u16::try_from(index).unwrap() + 1;
        let bytes = (u128::from(next) << 112)
            | (u128::from(flags) << 96)
            | (u128::from(size) << 64)
            | u128::from(at);
        let place = GuestAddress(16 * index);
        ram.write_obj(bytes.to_le(), place).unwrap();
    }

    /// Known attack: what a chain takes is looked at, then the guest makes it another one, of less or of what is not its RAM.
    #[test]
    fn descriptors_that_change_after_they_were_counted_count_for_nothing() {
        let ram = Memory::from_ranges(&[(GuestAddress(0), 0x4000)]).unwrap();
        let view = View::of(&ram);
        describe(&ram, 0, (0x1000, 3), WRITE | 1);
        describe(&ram, 1, (0x3000, 9), 1);
        describe(&ram, 2, (0x2000, 5), WRITE);
        let mut buffers = Buffers::of(Chain::new(&view, GuestAddress(0), 4, 0));
        assert_eq!((buffers.room(), buffers.head_index()), (8, 0));
        for index in 0..3 {
            describe(&ram, index, (0x10_0000, 1), WRITE);
        }
        buffers.write(b"ab").unwrap();
        buffers.write(b"cdefgh").unwrap();
        assert_eq!(buffers.room(), 0);
        let mut written = [[0; 5]; 2];
        for (bytes, at) in written.iter_mut().zip([0x1000, 0x2000]) {
            ram.read_slice(bytes, GuestAddress(at)).unwrap();
        }
        assert_eq!(written, [*b"abc\0\0", *b"defgh"]);
        let more = buffers.write(b"i");
        assert!(matches!(more, Err(PiecesError::TooShort { missing: 1 })));
    }

    #[test]
    fn a_buffer_outside_the_ram_is_refused() {
        let ram = Memory::from_ranges(&[(GuestAddress(0), 0x4000)]).unwrap();
        let view = View::of(&ram);
        for place in [(0x3fff, 2), (u64::MAX, 4), (0x4000, 1)] {
            describe(&ram, 0, place, WRITE);
            let mut buffers = Buffers::of(Chain::new(&view, GuestAddress(0), 4, 0));
            let refused = buffers.write(&[7; 4][..place.1 as usize]);
            assert!(matches!(refused, Err(PiecesError::NotRam(_))), "{place:?}");
        }
    }
}
