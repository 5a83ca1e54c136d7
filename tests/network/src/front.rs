//! A guest as its device's process sees it: RAM, rings and a vhost-user link, driven by whoever measures.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use anyhow::Result;
use bartizan_devices::net::header::HEADER_LEN;
use bartizan_devices::vhost_user::Memory;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use vm_memory::{Bytes, FileOffset, GuestAddress};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::frame::PORT_AT;
use crate::ring::{DriverRing, LENGTH, SIZE};

/// Where QEMU would have the RAM in its own address space.
const USER: u64 = 0x7000_0000_0000;
/// Bytes of a buffer.
const BUFFER: u64 = 2048;

/// One of them.
pub(crate) struct FrontEnd {
    ram: Memory,
    rx: DriverRing,
    tx: DriverRing,
    /// Of rx and tx.
    kicks: [EventFd; 2],
    _calls: [EventFd; 2],
    _link: Frontend,
}

impl FrontEnd {
    /// Of a device at the other end of that link.
    pub(crate) fn new(link: UnixStream) -> Result<Self> {
        let all = BUFFER * u64::from(SIZE);
        let rx = DriverRing::new(0, 2 * LENGTH, BUFFER);
        let tx = DriverRing::new(LENGTH, 2 * LENGTH + all, BUFFER);
        let length = 2 * LENGTH + 2 * all;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = File::from(memfd_create("ram", flags)?);
        file.set_len(length)?;
        fcntl_add_seals(&file, SealFlags::SHRINK)?;
        let mapped = FileOffset::new(file.try_clone()?, 0);
        let range = (GuestAddress(0), usize::try_from(length)?, Some(mapped));
        let ram = Memory::from_ranges_with_files([range])?;
        let event = || EventFd::new(EFD_NONBLOCK);
        let mut front = Self {
            _link: Frontend::from_stream(link, 2),
            ram,
            rx,
            tx,
            kicks: [event()?, event()?],
            _calls: [event()?, event()?],
        };
        front
            .rx
            .describe(&front.ram, usize::try_from(BUFFER)?, true)?;
        front.rx.offer(&front.ram, SIZE)?;
        front.set_up(&file.into(), length)?;
        Ok(front)
    }

    /// As QEMU does, with what every back end has.
    fn set_up(&mut self, file: &OwnedFd, length: u64) -> Result<()> {
        let link = &mut self._link;
        link.set_owner()?;
        link.get_features()?;
        link.get_protocol_features()?;
        link.set_protocol_features(VhostUserProtocolFeatures::empty())?;
        let protocol = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
        link.set_features((1 << VIRTIO_F_VERSION_1) | protocol)?;
        link.set_mem_table(&[VhostUserMemoryRegionInfo {
            guest_phys_addr: 0,
            memory_size: length,
            userspace_addr: USER,
            mmap_offset: 0,
            mmap_handle: file.as_raw_fd(),
        }])?;
        for (index, ring) in [(0, &self.rx), (1, &self.tx)] {
            let (descriptors, available, used) = ring.parts();
            link.set_vring_num(index, SIZE)?;
            link.set_vring_base(index, 0)?;
            let place = VringConfigData {
                queue_max_size: SIZE,
                queue_size: SIZE,
                flags: 0,
                desc_table_addr: USER + descriptors,
                used_ring_addr: USER + used,
                avail_ring_addr: USER + available,
                log_addr: None,
            };
            link.set_vring_addr(index, &place)?;
            let [kick, call] = [&self.kicks, &self._calls].map(|events| events.get(index));
            if let (Some(kick), Some(call)) = (kick, call) {
                link.set_vring_kick(index, kick)?;
                link.set_vring_call(index, call)?;
            }
            link.set_vring_enable(index, true)?;
        }
        // The answer shows that all of the above was taken.
        link.get_features()?;
        Ok(())
    }

    /// Lays the same frame, with its header, into all its tx buffers.
    pub(crate) fn prepare(&mut self, frame: &[u8]) -> Result<()> {
        debug_assert!(frame.len() > HEADER_LEN);
        self.tx.describe(&self.ram, frame.len(), false)?;
        for index in 0..SIZE {
            let at = GuestAddress(self.tx.buffer(index));
            self.ram.write_slice(frame, at)?;
        }
        Ok(())
    }

    /// Sends as many as there is room for, at most so many; returns how many.
    pub(crate) fn send(&mut self, most: u16) -> Result<u16> {
        self.tx.take_back(&self.ram)?;
        let count = most.min(SIZE - self.tx.out());
        if count > 0 {
            self.tx.offer(&self.ram, count)?;
            self.kick(1)?;
        }
        Ok(count)
    }

    /// As [`Self::send`], each of another flow: of the next numbers, of which the lower half goes on in ports.
    pub(crate) fn send_new(
        &mut self,
        most: u16,
        numbers: &mut impl Iterator<Item = u32>,
    ) -> Result<u16> {
        self.tx.take_back(&self.ram)?;
        let count = most.min(SIZE - self.tx.out());
        for (ahead, number) in (0..count).zip(numbers) {
            let at = GuestAddress(self.tx.buffer(ahead) + PORT_AT as u64);
            // Both ports.
            self.ram.write_obj(number.to_be(), at)?;
        }
        if count > 0 {
            self.tx.offer(&self.ram, count)?;
            self.kick(1)?;
        }
        Ok(count)
    }

    /// Takes what came, and offers its buffers again; returns how many frames.
    pub(crate) fn receive(&mut self) -> Result<u16> {
        let count = self.rx.take_back(&self.ram)?;
        if count > 0 {
            self.rx.offer(&self.ram, count)?;
            self.kick(0)?;
        }
        Ok(count)
    }

    /// Wakes the device, unless it says that it looks by itself.
    fn kick(&self, index: usize) -> Result<()> {
        let ring = if index == 0 { &self.rx } else { &self.tx };
        if ring.wants_kicks(&self.ram)?
            && let Some(kick) = self.kicks.get(index)
        {
            kick.write(1)?;
        }
        Ok(())
    }
}
