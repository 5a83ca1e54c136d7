//! The answers to QEMU's messages.
//!
//! Only what a device needs is offered; every other request is refused, which ends the device.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use vhost::VhostUserMemoryRegionBase;
use vhost::vhost_user::message::{
    VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags, VhostUserInflight,
    VhostUserLog, VhostUserMemoryRegion, VhostUserProtocolFeatures, VhostUserShMemConfig,
    VhostUserSharedMsg, VhostUserSingleMemoryRegion, VhostUserVirtioFeatures,
    VhostUserVringAddrFlags, VhostUserVringState,
};
use vhost::vhost_user::{Error, GpuBackend, Result, VhostUserBackendReqHandlerMut};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};

use super::memory::{Ram, Region};
use super::ring::{Ring, RingError};
use super::view::View;

/// Most pairs of rings that a device has: QEMU's threads, and its guest's processors, are few beside each other.
pub const MAX_PAIRS: usize = 4;

/// Two rings of a device that its back end serves. One more, of events (vsock) or orders (network), QEMU serves itself.
#[derive(Debug)]
pub struct Rings {
    /// Packets to the guest.
    pub rx: Ring,
    /// Packets of the guest.
    pub tx: Ring,
}

/// What a device offers beside the features that every device here has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// Features of its kind (virtio 1.2 section 2.2), as bits.
    pub features: u64,
    /// Its configuration space, where the back end has it; otherwise QEMU has.
    pub space: Option<Vec<u8>>,
    /// Pairs of rings, 1 to [`MAX_PAIRS`].
    pub pairs: usize,
}

/// One guest's device as its QEMU set it up.
pub struct Backend {
    offer: Offer,
    /// The guest's RAM.
    pub ram: Ram,
    /// The rings: one pair at least.
    pub pairs: Vec<Rings>,
    epoll: Arc<OwnedFd>,
    kick_tokens: u64,
    features: u64,
    protocol_features: Option<u64>,
    driver_started_anew: bool,
}

impl Backend {
    /// A device that is not set up yet. The kicks of ring `n` are watched by `epoll` under the token
    /// `kick_tokens` + n. A pair's first ring is the one of packets to the guest.
    pub fn new(
        offer: Offer,
        epoll: Arc<OwnedFd>,
        kick_tokens: u64,
    ) -> std::result::Result<Self, RingError> {
        let pair = |_| {
            Ok(Rings {
                rx: Ring::new()?,
                tx: Ring::new()?,
            })
        };
        let pairs = (0..offer.pairs.clamp(1, MAX_PAIRS)).map(pair);
        let pairs = pairs.collect::<std::result::Result<_, RingError>>()?;
        Ok(Self {
            offer,
            ram: Ram::default(),
            pairs,
            epoll,
            kick_tokens,
            features: 0,
            protocol_features: None,
            driver_started_anew: false,
        })
    }

    /// Has what is written to the guest's RAM noted in the log of that file, if there is one.
    #[must_use]
    pub fn logged(self, log: Option<OwnedFd>) -> Self {
        let ram = Ram::logged(log);
        Self { ram, ..self }
    }

    /// Whether the guest's driver started anew since this was asked last: then it knows no connection.
    pub fn take_driver_restart(&mut self) -> bool {
        std::mem::take(&mut self.driver_started_anew)
    }

    /// The features that the guest's driver took, as bits.
    #[must_use]
    pub const fn features(&self) -> u64 {
        self.features
    }

    /// The protocol features that QEMU took, once it has said so.
    #[must_use]
    pub const fn protocol_features(&self) -> Option<u64> {
        self.protocol_features
    }

    fn protocol(&self) -> VhostUserProtocolFeatures {
        let mut offered = VhostUserProtocolFeatures::empty();
        offered.set(
            VhostUserProtocolFeatures::CONFIG,
            self.offer.space.is_some(),
        );
        offered.set(VhostUserProtocolFeatures::MQ, self.pairs.len() > 1);
        offered
    }

    fn ring(&mut self, index: u32) -> Result<&mut Ring> {
        ring(&mut self.pairs, index)
    }
}

fn ring(pairs: &mut [Rings], index: u32) -> Result<&mut Ring> {
    let pair = pairs.get_mut(index as usize / 2);
    let pair = pair.ok_or(Error::InvalidParam)?;
    Ok(if index.is_multiple_of(2) {
        &mut pair.rx
    } else {
        &mut pair.tx
    })
}

fn refused(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::ReqHandlerError(io::Error::other(error))
}

const NOT_OFFERED: Error = Error::InvalidOperation("not offered by this device");

impl VhostUserBackendReqHandlerMut for Backend {
    fn set_owner(&mut self) -> Result<()> {
        Ok(())
    }

    fn reset_owner(&mut self) -> Result<()> {
        Err(NOT_OFFERED)
    }

    fn reset_device(&mut self) -> Result<()> {
        Err(NOT_OFFERED)
    }

    fn get_features(&mut self) -> Result<u64> {
        Ok((1 << VIRTIO_F_VERSION_1)
            | (1 << VIRTIO_RING_F_INDIRECT_DESC)
            | self.offer.features
            | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits())
    }

    fn set_features(&mut self, features: u64) -> Result<()> {
        if features & !self.get_features()? != 0 {
            return Err(Error::InvalidParam);
        }
        self.features = features;
        for pair in &mut self.pairs {
            let used = features & (1 << VIRTIO_RING_F_EVENT_IDX) != 0;
            pair.rx.use_event_index(used);
            pair.tx.use_event_index(used);
        }
        if features & VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits() == 0 {
            // Such a front end knows no SET_VRING_ENABLE: its rings are enabled from the start.
            for pair in &mut self.pairs {
                pair.rx.enable(true);
                pair.tx.enable(true);
            }
        }
        Ok(())
    }

    fn set_mem_table(
        &mut self,
        table: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _postcopy: Option<bool>,
    ) -> Result<Option<Vec<VhostUserMemoryRegionBase>>> {
        let regions = table.iter().map(|region| Region {
            guest: region.guest_phys_addr,
            size: region.memory_size,
            user: region.user_addr,
            offset: region.mmap_offset,
        });
        self.ram.remap(regions.zip(files)).map_err(refused)?;
        Ok(None)
    }

    fn set_vring_num(&mut self, index: u32, num: u32) -> Result<()> {
        self.ring(index)?.resize(num).map_err(refused)
    }

    fn set_vring_addr(
        &mut self,
        index: u32,
        _flags: VhostUserVringAddrFlags,
        descriptor: u64,
        used: u64,
        available: u64,
        _log: u64,
    ) -> Result<()> {
        let ring = ring(&mut self.pairs, index)?;
        let find = |user| {
            self.ram
                .translate(user)
                .ok_or_else(|| refused(RingError::NotRam(user)))
        };
        let (descriptor, available, used) = (find(descriptor)?, find(available)?, find(used)?);
        ring.place(&self.ram.memory, descriptor, available, used)
            .map_err(refused)
    }

    fn set_vring_base(&mut self, index: u32, base: u32) -> Result<()> {
        let goes_on = self.ring(index)?.rebase(base).map_err(refused)?;
        self.driver_started_anew |= !goes_on;
        Ok(())
    }

    fn get_vring_base(&mut self, index: u32) -> Result<VhostUserVringState> {
        let ring = ring(&mut self.pairs, index)?;
        let base = ring.stop(&View::of(&self.ram.memory), &self.epoll);
        Ok(VhostUserVringState::new(index, base.into()))
    }

    fn set_vring_kick(&mut self, index: u8, kick: Option<File>) -> Result<()> {
        let epoll = Arc::clone(&self.epoll);
        let token = self.kick_tokens + u64::from(index);
        self.ring(index.into())?
            .start(kick, &epoll, token)
            .map_err(refused)
    }

    fn set_vring_call(&mut self, index: u8, call: Option<File>) -> Result<()> {
        self.ring(index.into())?.signal_to(call).map_err(refused)
    }

    fn set_vring_err(&mut self, index: u8, _err: Option<File>) -> Result<()> {
        self.ring(index.into()).map(|_| ())
    }

    fn get_protocol_features(&mut self) -> Result<VhostUserProtocolFeatures> {
        Ok(self.protocol())
    }

    fn set_protocol_features(&mut self, features: u64) -> Result<()> {
        let offered = self.protocol() | VhostUserProtocolFeatures::REPLY_ACK;
        if features & !offered.bits() == 0 {
            self.protocol_features = Some(features);
            Ok(())
        } else {
            Err(Error::InvalidParam)
        }
    }

    /// Of a network device QEMU counts pairs, and not rings.
    fn get_queue_num(&mut self) -> Result<u64> {
        Ok(self.pairs.len() as u64)
    }

    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        self.ring(index)?.enable(enable);
        Ok(())
    }

    fn get_config(
        &mut self,
        offset: u32,
        size: u32,
        _flags: VhostUserConfigFlags,
    ) -> Result<Vec<u8>> {
        let space = self.offer.space.as_deref().ok_or(NOT_OFFERED)?;
        let (offset, size) = (offset as usize, size as usize);
        let wanted = offset
            .checked_add(size)
            .and_then(|end| space.get(offset..end));
        wanted.map(<[u8]>::to_vec).ok_or(Error::InvalidParam)
    }

    fn set_config(&mut self, _: u32, _: &[u8], _: VhostUserConfigFlags) -> Result<()> {
        Err(NOT_OFFERED)
    }

    fn set_gpu_socket(&mut self, _: GpuBackend) -> Result<()> {
        Err(NOT_OFFERED)
    }

    fn get_shared_object(&mut self, _: VhostUserSharedMsg) -> Result<File> {
        Err(NOT_OFFERED)
    }

    fn get_inflight_fd(&mut self, _: &VhostUserInflight) -> Result<(VhostUserInflight, File)> {
        Err(NOT_OFFERED)
    }

    fn set_inflight_fd(&mut self, _: &VhostUserInflight, _: File) -> Result<()> {
        Err(NOT_OFFERED)
    }

    fn get_max_mem_slots(&mut self) -> Result<u64> {
        Err(NOT_OFFERED)
    }

    fn add_mem_region(
        &mut self,
        _: &VhostUserSingleMemoryRegion,
        _: File,
        _: Option<bool>,
    ) -> Result<Option<VhostUserMemoryRegionBase>> {
        Err(NOT_OFFERED)
    }

    fn remove_mem_region(&mut self, _: &VhostUserSingleMemoryRegion) -> Result<()> {
        Err(NOT_OFFERED)
    }

    fn set_device_state_fd(
        &mut self,
        _: VhostTransferStateDirection,
        _: VhostTransferStatePhase,
        _: File,
    ) -> Result<Option<File>> {
        Err(NOT_OFFERED)
    }

    fn check_device_state(&mut self) -> Result<()> {
        Err(NOT_OFFERED)
    }

    fn get_shmem_config(&mut self) -> Result<VhostUserShMemConfig> {
        Err(NOT_OFFERED)
    }

    fn set_log_base(&mut self, _: &VhostUserLog, _: File) -> Result<()> {
        Err(NOT_OFFERED)
    }
}
