//! A ring as a driver has it that does next to nothing for a frame: each descriptor has a buffer of its own, all are offered in their
//! order for ever, and so all that is left is to say how far.

use anyhow::Result;
use bartizan_devices::vhost_user::Memory;
use vm_memory::{Bytes, GuestAddress};

/// Descriptors.
pub(crate) const SIZE: u16 = 256;

const WRITE: u16 = 2;
/// Where a ring's parts are, from its base on.
const AVAILABLE: u64 = 0x2000;
const USED: u64 = 0x3000;
/// Its size in RAM, without buffers.
pub(crate) const LENGTH: u64 = 0x4000;

/// The driver's end.
#[derive(Debug)]
pub(crate) struct DriverRing {
    base: u64,
    buffers: u64,
    buffer: u64,
    /// How many chains were offered, and how many were taken back, of all times.
    offered: u16,
    back: u16,
}

impl DriverRing {
    /// At `base`, with its buffers of `buffer` bytes at `buffers`.
    pub(crate) const fn new(base: u64, buffers: u64, buffer: u64) -> Self {
        Self {
            base,
            buffers,
            buffer,
            offered: 0,
            back: 0,
        }
    }

    /// Descriptors, available ring, used ring.
    pub(crate) const fn parts(&self) -> (u64, u64, u64) {
        (self.base, self.base + AVAILABLE, self.base + USED)
    }

    /// Describes all buffers as ones of `size` bytes.
    pub(crate) fn describe(
        &self,
        ram: &Memory,
        size: usize,
        for_device: bool,
    ) -> Result<()> {
        let flags = if for_device { WRITE } else { 0 };
        for index in 0..SIZE {
            let descriptor = [
                self.place(index).to_le_bytes().as_slice(),
                &u32::try_from(size)?.to_le_bytes(),
                &flags.to_le_bytes(),
                &[0, 0],
            ]
            .concat();
            let at = self.base + 16 * u64::from(index);
            ram.write_slice(&descriptor, GuestAddress(at))?;
            let entry = self.base + AVAILABLE + 4 + 2 * u64::from(index);
            ram.write_slice(&index.to_le_bytes(), GuestAddress(entry))?;
        }
        // It looks by itself, and wants no signal.
        let flags = GuestAddress(self.base + AVAILABLE);
        ram.write_obj(1_u16.to_le(), flags)?;
        Ok(())
    }

    /// The buffer of the chain that is offered so many from now.
    pub(crate) fn buffer(&self, ahead: u16) -> u64 {
        self.place(self.offered.wrapping_add(ahead))
    }

    /// Has the device see so many more.
    pub(crate) fn offer(&mut self, ram: &Memory, count: u16) -> Result<()> {
        self.offered = self.offered.wrapping_add(count);
        let at = GuestAddress(self.base + AVAILABLE + 2);
        ram.store(
            self.offered.to_le(),
            at,
            std::sync::atomic::Ordering::Release,
        )?;
        Ok(())
    }

    /// Takes back what the device is done with; returns how many.
    pub(crate) fn take_back(&mut self, ram: &Memory) -> Result<u16> {
        let at = GuestAddress(self.base + USED + 2);
        let used = u16::from_le(ram.load(at, std::sync::atomic::Ordering::Acquire)?);
        let count = used.wrapping_sub(self.back);
        self.back = used;
        Ok(count)
    }

    /// Whether the device wants to be told (virtio 1.2 section 2.7.10).
    pub(crate) fn wants_kicks(&self, ram: &Memory) -> Result<bool> {
        // What was offered is seen before that is looked at.
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        let at = GuestAddress(self.base + USED);
        let flags = u16::from_le(ram.load(at, std::sync::atomic::Ordering::Acquire)?);
        Ok(flags & 1 == 0)
    }

    /// How many the device has still.
    pub(crate) const fn out(&self) -> u16 {
        self.offered.wrapping_sub(self.back)
    }

    fn place(&self, index: u16) -> u64 {
        self.buffers + u64::from(index % SIZE) * self.buffer
    }
}
