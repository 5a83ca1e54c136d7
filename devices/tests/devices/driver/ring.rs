//! A split virtqueue from the driver's side, written by hand (virtio 1.2 section 2.7).

use std::os::fd::AsRawFd;
use std::time::Instant;

use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::daemon::DEADLINE;

pub(crate) const SIZE: u16 = 32;
/// Each descriptor has a buffer of its own.
const BUFFER: u64 = 16 << 10;
const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// A ring: descriptors at `base`, the available ring and the used ring a page each after, and the buffers
/// at 16 times the base.
pub(crate) struct DriverRing {
    base: u64,
    pub(crate) offered: u16,
    taken: u16,
    pub(crate) kick: EventFd,
    pub(crate) call: EventFd,
}

impl DriverRing {
    pub(crate) fn new(base: u64) -> Self {
        let event = || EventFd::new(EFD_NONBLOCK).unwrap();
        Self {
            base,
            offered: 0,
            taken: 0,
            kick: event(),
            call: event(),
        }
    }

    pub(crate) fn descriptors(&self) -> u64 {
        self.base
    }

    pub(crate) fn available(&self) -> u64 {
        self.base + 0x1000
    }

    pub(crate) fn used(&self) -> u64 {
        self.base + 0x2000
    }

    pub(crate) fn used_index(&self, memory: &GuestMemoryMmap) -> u16 {
        memory.read_obj(GuestAddress(self.used() + 2)).unwrap()
    }

    pub(crate) fn buffer(&self, index: u16) -> u64 {
        self.base * 16 + u64::from(index) * BUFFER
    }

    /// Offers every descriptor as a buffer to write into.
    pub(crate) fn offer_all(&mut self, memory: &GuestMemoryMmap) {
        for index in 0..SIZE {
            self.describe(memory, index, self.buffer(index), 16 << 10, WRITE, 0);
            self.offer(memory, index);
        }
    }

    /// Sends pieces as one chain.
    pub(crate) fn send(&mut self, memory: &GuestMemoryMmap, pieces: &[&[u8]]) {
        // Two descriptors a packet; wait until the device gave the oldest ones back.
        loop {
            let used = self.used_index(memory);
            if self.offered.wrapping_sub(used) < SIZE / 2 {
                break;
            }
            self.wait(memory, used);
        }
        let first = self.offered % (SIZE / 2) * 2;
        for (index, piece) in (first..).zip(pieces) {
            memory
                .write_slice(piece, GuestAddress(self.buffer(index)))
                .unwrap();
            let flags = if index == first { NEXT } else { 0 };
            let len = u32::try_from(piece.len()).unwrap();
            self.describe(memory, index, self.buffer(index), len, flags, index + 1);
        }
        self.offer(memory, first);
    }

    pub(crate) fn describe(
        &self,
        memory: &GuestMemoryMmap,
        index: u16,
        address: u64,
        len: u32,
        flags: u16,
        next: u16,
    ) {
        let at = self.descriptors() + 16 * u64::from(index);
        memory.write_obj(address, GuestAddress(at)).unwrap();
        memory.write_obj(len, GuestAddress(at + 8)).unwrap();
        memory.write_obj(flags, GuestAddress(at + 12)).unwrap();
        memory.write_obj(next, GuestAddress(at + 14)).unwrap();
    }

    /// Makes a chain available and kicks.
    pub(crate) fn offer(&mut self, memory: &GuestMemoryMmap, head: u16) {
        let entry = self.available() + 4 + 2 * u64::from(self.offered % SIZE);
        memory.write_obj(head, GuestAddress(entry)).unwrap();
        self.offered = self.offered.wrapping_add(1);
        self.publish(memory, self.offered);
    }

    /// Sets the available index, true or not, and kicks.
    pub(crate) fn publish(&self, memory: &GuestMemoryMmap, index: u16) {
        let at = GuestAddress(self.available() + 2);
        memory
            .store(index, at, std::sync::atomic::Ordering::SeqCst)
            .unwrap();
        // As a driver does: not where the device looks by itself (virtio 1.2 section 2.7.10).
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        let flags: u16 = memory.read_obj(GuestAddress(self.used())).unwrap();
        if flags & 1 == 0 {
            self.kick.write(1).unwrap();
        }
    }

    /// Takes the next used buffer's bytes and offers the buffer again.
    pub(crate) fn receive(&mut self, memory: &GuestMemoryMmap) -> Vec<u8> {
        while self.used_index(memory) == self.taken {
            self.wait(memory, self.taken);
        }
        let entry = self.used() + 4 + 8 * u64::from(self.taken % SIZE);
        self.taken = self.taken.wrapping_add(1);
        let head: u32 = memory.read_obj(GuestAddress(entry)).unwrap();
        let len: u32 = memory.read_obj(GuestAddress(entry + 4)).unwrap();
        let head = u16::try_from(head).unwrap();
        let mut bytes = vec![0; len as usize];
        memory
            .read_slice(&mut bytes, GuestAddress(self.buffer(head)))
            .unwrap();
        self.offer(memory, head);
        bytes
    }

    /// Waits until the device gave everything back, whether it signals that or not.
    pub(crate) fn wait_until_used(&self, memory: &GuestMemoryMmap) {
        let give_up = Instant::now() + DEADLINE;
        while self.used_index(memory) != self.offered {
            assert!(Instant::now() < give_up, "the device used nothing in time");
            std::thread::yield_now();
        }
    }

    /// Waits for the device's signal that it used more than that, with event indices (virtio 1.2 section 2.7.7.1) or without.
    pub(crate) fn wait(&self, memory: &GuestMemoryMmap, used: u16) {
        let event = GuestAddress(self.available() + 4 + 2 * u64::from(SIZE));
        let order = std::sync::atomic::Ordering::SeqCst;
        memory.store(used, event, order).unwrap();
        std::sync::atomic::fence(order);
        if self.used_index(memory) != used {
            return;
        }
        let epoll = Epoll::new().unwrap();
        let event = EpollEvent::new(EventSet::IN, 0);
        epoll
            .ctl(ControlOperation::Add, self.call.as_raw_fd(), event)
            .unwrap();
        let milliseconds = i32::try_from(DEADLINE.as_millis()).unwrap();
        let ready = epoll
            .wait(milliseconds, &mut [EpollEvent::default()])
            .unwrap();
        assert_eq!(ready, 1, "the device did not answer in time");
        self.call.read().unwrap();
    }
}
