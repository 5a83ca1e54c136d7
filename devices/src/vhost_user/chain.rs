//! The descriptors of a chain (virtio 1.2 section 2.7.5), each read once.
//!
//! A chain cannot be copied, so that nobody walks it twice: what a guest changes in it behind its reader counts for nothing.
//!
//! Known attack: a chain that leads to itself, into a table of another size, or on without end. There are no more steps than its
//! table has descriptors, an indirect table is in no other one, and all of it has less than 2^32 bytes.

use virtio_queue::desc::split::Descriptor;
use vm_memory::{GuestAddress, VolatileMemory};

use super::view::View;

/// Bytes of a descriptor.
const DESCRIPTOR: u32 = 16;

/// The rest of a chain.
pub struct Chain<'v, 'm> {
    view: &'v View<'m>,
    head: u16,
    table: GuestAddress,
    /// Descriptors of the table.
    size: u16,
    next: u16,
    /// How many may still come.
    left: u16,
    bytes: u32,
    is_indirect: bool,
}

impl<'v, 'm> Chain<'v, 'm> {
    /// That begins at `head` of a table of so many descriptors.
    #[must_use]
    pub const fn new(view: &'v View<'m>, table: GuestAddress, size: u16, head: u16) -> Self {
        Self {
            view,
            head,
            table,
            size,
            next: head,
            left: size,
            bytes: 0,
            is_indirect: false,
        }
    }

    /// Where it begins.
    #[must_use]
    pub const fn head_index(&self) -> u16 {
        self.head
    }

    /// The RAM that it is in.
    #[must_use]
    pub const fn view(&self) -> &'v View<'m> {
        self.view
    }

    /// The descriptor that it is at.
    fn read(&self) -> Option<Descriptor> {
        if self.left == 0 || self.next >= self.size {
            return None;
        }
        let behind = u64::from(DESCRIPTOR) * u64::from(self.next);
        let at = self.table.0.checked_add(behind)?;
        let bytes = self.view.slice(GuestAddress(at), DESCRIPTOR as usize)?;
        Some(bytes.get_ref::<Descriptor>(0).ok()?.load())
    }

    /// Goes on in a table of its own.
    fn enter(&mut self, table: Descriptor) -> Option<()> {
        let size = table.len();
        if self.is_indirect || !size.is_multiple_of(DESCRIPTOR) {
            return None;
        }
        self.table = table.addr();
        self.size = u16::try_from(size / DESCRIPTOR).ok()?;
        (self.next, self.left) = (0, self.size);
        self.is_indirect = true;
        Some(())
    }
}

impl Iterator for Chain<'_, '_> {
    type Item = Descriptor;

    #[inline]
    fn next(&mut self) -> Option<Descriptor> {
        let mut descriptor = self.read()?;
        if descriptor.refers_to_indirect_table() {
            self.enter(descriptor)?;
            descriptor = self.read()?;
            if descriptor.refers_to_indirect_table() {
                return None;
            }
        }
        self.bytes = self.bytes.checked_add(descriptor.len())?;
        if descriptor.has_next() {
            self.next = descriptor.next();
            self.left -= 1;
        } else {
            self.left = 0;
        }
        Some(descriptor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use virtio_queue::{Queue, QueueOwnedT, QueueT};
    use vm_memory::Bytes;

    use super::*;
    use crate::vhost_user::Memory;

    const SIZE: u16 = 8;
    const AVAILABLE: u64 = 0x100;
    const INDIRECT: u64 = 0x400;

    /// Address, length, flags, next.
    type Parts = (u64, u32, u16, u16);

    fn put(ram: &Memory, at: u64, table: &[Parts]) {
        for (index, (address, size, flags, next)) in (0..).zip(table) {
            let bytes = (u128::from(*next) << 112)
                | (u128::from(*flags) << 96)
                | (u128::from(*size) << 64)
                | u128::from(*address);
            ram.write_obj(bytes.to_le(), GuestAddress(at + 16 * index))
                .unwrap();
        }
    }

    /// As `virtio-queue` has them.
    fn reference(ram: &Memory, head: u16) -> Vec<Descriptor> {
        let mut queue = Queue::new(SIZE).unwrap();
        let available = GuestAddress(AVAILABLE);
        queue.try_set_avail_ring_address(available).unwrap();
        queue
            .try_set_used_ring_address(GuestAddress(0x200))
            .unwrap();
        queue.set_ready(true);
        ram.write_obj(1_u16.to_le(), GuestAddress(AVAILABLE + 2))
            .unwrap();
        ram.write_obj(head.to_le(), GuestAddress(AVAILABLE + 4))
            .unwrap();
        queue.iter(ram).unwrap().next().unwrap().collect()
    }

    fn parts() -> impl Strategy<Value = Parts> {
        let size = prop_oneof![
            3 => (0..10_u32).prop_map(|descriptors| 16 * descriptors),
            1 => any::<u32>(),
            1 => 0..100_u32
        ];
        let at = prop_oneof![4 => Just(INDIRECT), 1 => 0..0x900_u64, 1 => any::<u64>()];
        (at, size, 0..8_u16, 0..SIZE + 2)
    }

    proptest! {
        /// Loops, tables in tables, tables of half a descriptor, chains of more than 2^32 bytes, of what is not RAM.
        #[test]
        fn it_is_the_chain_that_another_implementation_finds(
            table in prop::collection::vec(parts(), usize::from(SIZE)),
            indirect in prop::collection::vec(parts(), usize::from(SIZE)),
            head in 0..SIZE + 2,
        ) {
            let ram = Memory::from_ranges(&[(GuestAddress(0), 0x800)]).unwrap();
            put(&ram, 0, &table);
            put(&ram, INDIRECT, &indirect);
            let view = View::of(&ram);
            // It offers the chain in the same RAM, where a table may lie.
            let theirs = reference(&ram, head);
            let ours: Vec<Descriptor> = Chain::new(&view, GuestAddress(0), SIZE, head).collect();
            let shown = |found: &[Descriptor]| format!("{found:?}");
            prop_assert_eq!(shown(&ours), shown(&theirs));
        }
    }
}
