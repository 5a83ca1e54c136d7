//! A guest's RAM and rings, and its device's, in one process: nothing but memory is between them.

use std::fs::File;
use std::sync::Arc;

use anyhow::{Context, Result};
use bartizan_devices::net::header::{HEADER_LEN, feature};
use bartizan_devices::vhost_user::{Backend, Memory, Offer};
use bartizan_write_tracking::{FileRange, Log};
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use vhost::vhost_user::VhostUserBackendReqHandlerMut;
use vhost::vhost_user::message::{VhostUserMemoryRegion, VhostUserVringAddrFlags};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::VIRTIO_RING_F_INDIRECT_DESC;
use vm_memory::{Bytes, FileOffset, GuestAddress};

use crate::frame::PORT_AT;
use crate::ring::{DriverRing, LENGTH, SIZE};

/// What is a guest's, but for who judges.
pub(crate) struct Guest {
    pub(crate) backend: Backend,
    /// Its own way to its RAM: of what it writes itself no device notes anything.
    ram: Memory,
    /// What its device notes, if it does.
    log: Option<Log>,
    pub(crate) rx: DriverRing,
    pub(crate) tx: DriverRing,
}

impl Guest {
    /// That sends and takes frames of up to so many bytes.
    pub(crate) fn new(frame: usize) -> Result<Self> {
        Self::made(frame, false)
    }

    /// Likewise; its device notes what it writes.
    pub(crate) fn logged(frame: usize) -> Result<Self> {
        Self::made(frame, true)
    }

    fn made(frame: usize, is_logged: bool) -> Result<Self> {
        let size = HEADER_LEN + frame;
        let buffer = (size as u64).next_multiple_of(64);
        let all = buffer * u64::from(SIZE);
        let rx = DriverRing::new(0, 2 * LENGTH, buffer);
        let tx = DriverRing::new(LENGTH, 2 * LENGTH + all, buffer);
        let length = (2 * LENGTH + 2 * all).next_multiple_of(4096);
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let ram = File::from(memfd_create("ram", flags)?);
        ram.set_len(length)?;
        fcntl_add_seals(&ram, SealFlags::SHRINK)?;
        let log = is_logged.then(|| Log::create(length)).transpose()?;
        let mapped = FileOffset::new(ram.try_clone()?, 0);
        let own = (GuestAddress(0), usize::try_from(length)?, Some(mapped));
        let offer = Offer {
            features: feature::OFFERED,
            space: None,
            pairs: 1,
        };
        let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?);
        let notes = log.as_ref().map(|log| Log::map(log, length)).transpose()?;
        let mut backend = Backend::new(offer, epoll, 0)?.logged(log);
        let region = VhostUserMemoryRegion::new(0, length, 0, 0);
        backend.set_mem_table(&[region], vec![ram], None)?;
        let basic = (1 << VIRTIO_F_VERSION_1) | (1 << VIRTIO_RING_F_INDIRECT_DESC);
        backend.set_features(basic | feature::OFFERED)?;
        for (index, ring) in [(0, &rx), (1, &tx)] {
            let (descriptors, available, used) = ring.parts();
            backend.set_vring_num(index, SIZE.into())?;
            backend.set_vring_base(index, 0)?;
            let flags = VhostUserVringAddrFlags::empty();
            backend.set_vring_addr(index, flags, descriptors, used, available, 0)?;
            let kick = eventfd(0, EventfdFlags::NONBLOCK)?;
            backend.set_vring_kick(u8::try_from(index)?, Some(kick.into()))?;
        }
        let mut guest = Self {
            backend,
            ram: Memory::from_ranges_with_files([own])?,
            log: notes,
            rx,
            tx,
        };
        guest.rx.describe(&guest.ram, size, true)?;
        guest.rx.offer(&guest.ram, SIZE)?;
        Ok(guest)
    }

    /// Lays the same frame into all its tx buffers.
    pub(crate) fn prepare(&mut self, frame: &[u8]) -> Result<()> {
        self.tx.describe(&self.ram, frame.len(), false)?;
        for index in 0..SIZE {
            let at = GuestAddress(self.tx.buffer(index));
            self.ram.write_slice(frame, at)?;
        }
        Ok(())
    }

    /// Sends so many of these, whose sender's ports are the next ones.
    pub(crate) fn send(&mut self, count: u16, ports: &mut impl Iterator<Item = u16>) -> Result<()> {
        let ram = &self.ram;
        for ahead in 0..count {
            let port = ports.next().context("there is no next port")?;
            let at = GuestAddress(self.tx.buffer(ahead) + PORT_AT as u64);
            ram.write_obj(port.to_be(), at)?;
        }
        self.tx.offer(ram, count)
    }

    /// Takes what came, and offers its buffers again; returns how many frames.
    pub(crate) fn receive(&mut self) -> Result<u16> {
        let ram = &self.ram;
        let count = self.rx.take_back(ram)?;
        self.rx.offer(ram, count)?;
        Ok(count)
    }

    /// Takes back what it sent; returns how many the device has still.
    pub(crate) fn sent(&mut self) -> Result<u16> {
        self.tx.take_back(&self.ram)?;
        Ok(self.tx.out())
    }

    /// Takes what its device noted, as who measures does; returns of how many pages that is.
    pub(crate) fn take_notes(&self) -> Result<u64> {
        let log = self.log.as_ref().context("nothing is noted")?;
        let all = FileRange::new(0, log.ram_size()).context("there is no RAM")?;
        let mut pages = 0;
        log.take(all, |noted| pages += noted.pages());
        Ok(pages)
    }
}
